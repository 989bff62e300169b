import CBitKernels

/// The left operand of products of a rounded gradient: R rows of D bytes in panels of 8 rows (bit_kernels.h), with a scale and a sum
/// for each row.
struct RoundedOperand {
  let base: UnsafeMutablePointer<Int8>
  let rows: Int
  let depth: Int
  let sums: UnsafeMutablePointer<Int32>
  let maxima: UnsafeMutablePointer<Float>

  /// Some of the rows, from a multiple of 8 on.
  subscript(rows range: Range<Int>) -> RoundedOperand {
    let first = range.lowerBound
    return RoundedOperand(
      base: base + first * 4 * ((depth + 3) / 4), rows: range.count, depth: depth, sums: sums + first,
      maxima: maxima + first)
  }

  /// out (+)= factor · this · S for 48 columns at most of a D×S matrix of signs, on the calling thread alone.
  ///
  /// - Parameters:
  ///   - expanded: memory for 48·D bytes.
  ///   - stride: floats from one row of `out` to the next.
  func multiply(
    _ signs: BitView, columns: Range<Int>, factor: Float, expanded: UnsafeMutablePointer<UInt8>, adds: Bool,
    into out: UnsafeMutablePointer<Float>, stride: Int
  ) {
    InstructionSet.table.pointee.expand_bits(signs.base, depth, signs.words, columns.lowerBound, expanded)
    multiply(
      expanded, columns: columns.count, factor: factor, times: 2, plus: -1, adds: adds, into: out,
      stride: stride)
  }

  /// The same for the binary input of a layer, with its step size.
  func multiply(
    _ input: BinaryInput, columns: Range<Int>, expanded: UnsafeMutablePointer<UInt8>, adds: Bool,
    into out: UnsafeMutablePointer<Float>, stride: Int
  ) {
    switch input {
    case .signs(let signs, _, let step):
      multiply(
        signs, columns: columns, factor: step, expanded: expanded, adds: adds, into: out, stride: stride)
    case .levels(let operand):
      // q = lowest + the lower four bits of the rest + 16 times the upper ones.
      let own = operand[columns: columns]
      func add(_ times: Int32, from bit: Int32, plus: Int32, adds: Bool) {
        withUnsafePointer(to: own.levels) {
          InstructionSet.table.pointee.expand_levels(
            own.x.base, depth, columns.count, own.x.stride, own.shift?.base, $0, bit, expanded)
        }
        multiply(
          expanded, upTo: 15, columns: columns.count, factor: operand.step, times: times, plus: plus,
          adds: adds, into: out, stride: stride)
      }
      add(1, from: 0, plus: Int32(operand.set.lowest), adds: adds)
      if operand.set.bits > 4 { add(16, from: 4, plus: 0, adds: true) }
    }
  }

  private func multiply(
    _ expanded: UnsafeMutablePointer<UInt8>, upTo largest: Int = 1, columns: Int, factor: Float, times: Int32,
    plus: Int32, adds: Bool, into out: UnsafeMutablePointer<Float>, stride: Int
  ) {
    InstructionSet.table.pointee.rounded_product(
      base, rows, depth, expanded, largest, sums, maxima, factor, times, plus, adds, columns, out, stride)
  }

  /// out (+)= factor · this · S for all columns of a D×S matrix of signs, by looking sums up, on the calling thread alone.
  ///
  /// - Parameters:
  ///   - indices: of the matrix (`LookupProducts`).
  ///   - room: `bk_lookup_room(columns)` bytes.
  func lookUp(
    _ indices: UnsafeMutablePointer<UInt8>, columns: Int, factor: Float, adds: Bool,
    into out: UnsafeMutablePointer<Float>, stride: Int, room: UnsafeMutablePointer<UInt64>
  ) {
    InstructionSet.table.pointee.lookup_product(
      base, rows, depth, indices, columns, sums, maxima, factor, 2, -1, adds, out, stride, room)
  }
}
