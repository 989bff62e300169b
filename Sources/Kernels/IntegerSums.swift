import CBitKernels

/// The integers in which gradients are added: multiples of a power of two, in two's complement, whose sums wrap.
///
/// Integers add up to the same total in any order; wrapping on the way does no harm as long as the total fits.
public protocol SummedInteger: FixedWidthInteger, UnsignedInteger, BitwiseCopyable, Sendable {
  /// The largest total that can be told from a negative one: 2³¹ − 1 or 2¹⁵ − 1.
  static var largestTotal: UInt64 { get }

  /// sums += values · 2^−power, or sums = that, and values = 0, for `rows` rows of `columns` elements, which are `valueStride` and `stride` apart, each rounded to
  /// the nearest integer, ties to even. On the calling thread alone.
  ///
  /// - Returns: the largest |value|; not finite if any value is not. Where that times 2^−power exceeds `largestTotal`, the sums
  ///   are of no use.
  /// - Cost: one pass over both.
  static func add(
    _ values: UnsafeMutablePointer<Float>, valueStride: Int, rows: Int, columns: Int, power: Int,
    adds: Bool, to sums: UnsafeMutablePointer<Self>, stride: Int
  ) -> Float

  /// values = sums · 2^power, the sums read as signed and rounded to float32. On the calling thread alone.
  static func read(
    _ sums: UnsafePointer<Self>, count: Int, power: Int, into values: UnsafeMutablePointer<Float>)
}

extension SummedInteger {
  /// The same of `count` elements in a row.
  public static func add(
    _ values: UnsafeMutablePointer<Float>, count: Int, power: Int, to sums: UnsafeMutablePointer<Self>
  ) -> Float {
    add(
      values, valueStride: count, rows: 1, columns: count, power: power, adds: true, to: sums, stride: count)
  }
}

/// 2^exponent, for exponents of normal float32 numbers.
private func powerOfTwo(_ exponent: Int) -> Float {
  precondition((-126...127).contains(exponent), "2^\(exponent) in float32")
  return Float(sign: .plus, exponent: exponent, significand: 1)
}

extension UInt32: SummedInteger {
  public static var largestTotal: UInt64 { 0x7FFF_FFFF }

  public static func add(
    _ values: UnsafeMutablePointer<Float>, valueStride: Int, rows: Int, columns: Int, power: Int,
    adds: Bool, to sums: UnsafeMutablePointer<UInt32>, stride: Int
  ) -> Float {
    let largest = InstructionSet.table.pointee.add_multiples(
      values, valueStride, rows, columns, powerOfTwo(-power), adds, sums, stride)
    return Float(bitPattern: largest)
  }

  public static func read(
    _ sums: UnsafePointer<UInt32>, count: Int, power: Int, into values: UnsafeMutablePointer<Float>
  ) {
    InstructionSet.table.pointee.read_multiples(sums, count, powerOfTwo(power), values)
  }
}

extension UInt16: SummedInteger {
  public static var largestTotal: UInt64 { 0x7FFF }

  public static func add(
    _ values: UnsafeMutablePointer<Float>, valueStride: Int, rows: Int, columns: Int, power: Int,
    adds: Bool, to sums: UnsafeMutablePointer<UInt16>, stride: Int
  ) -> Float {
    let largest = InstructionSet.table.pointee.add_short_multiples(
      values, valueStride, rows, columns, powerOfTwo(-power), adds, sums, stride)
    return Float(bitPattern: largest)
  }

  public static func read(
    _ sums: UnsafePointer<UInt16>, count: Int, power: Int, into values: UnsafeMutablePointer<Float>
  ) {
    InstructionSet.table.pointee.read_short_multiples(sums, count, powerOfTwo(power), values)
  }
}
