/// result[i] = left[i] + right[i] for i in 0 ..< count, then rounded to `format`. `result` may be `left` or `right`.
///
/// - Cost: `count` additions; the loop vectorises, since no order of additions changes.
@inline(__always)
func addVectors(
  _ left: UnsafePointer<Float>, _ right: UnsafePointer<Float>, count: Int, rounding format: WireFormat,
  into result: UnsafeMutablePointer<Float>
) {
  let rounds = format == .bfloat16
  var i = 0
  while i &+ 16 <= count {
    let sum = load(left + i) + load(right + i)
    store(rounds ? rounded(sum) : sum, result + i)
    i &+= 16
  }
  while i < count {
    let sum = left[i] + right[i]
    result[i] = rounds ? rounded(SIMD16(repeating: sum))[0] : sum
    i &+= 1
  }
}

/// Rounds `count` elements to bfloat16, in place.
func roundVector(_ values: UnsafeMutablePointer<Float>, count: Int) {
  var i = 0
  while i &+ 16 <= count {
    store(rounded(load(values + i)), values + i)
    i &+= 16
  }
  while i < count {
    values[i] = rounded(SIMD16(repeating: values[i]))[0]
    i &+= 1
  }
}

/// The upper halves of `count` elements that are bfloat16 already.
func narrowVector(_ values: UnsafePointer<Float>, count: Int, into halves: UnsafeMutablePointer<UInt16>) {
  var i = 0
  while i &+ 16 <= count {
    let words = unsafeBitCast(load(values + i), to: SIMD16<UInt32>.self) &>> 16
    UnsafeMutableRawPointer(halves + i).storeBytes(
      of: SIMD16<UInt16>(truncatingIfNeeded: words), as: SIMD16<UInt16>.self)
    i &+= 16
  }
  while i < count {
    halves[i] = UInt16(values[i].bitPattern >> 16)
    i &+= 1
  }
}

/// The reverse of `narrowVector`.
func widenVector(_ halves: UnsafePointer<UInt16>, count: Int, into values: UnsafeMutablePointer<Float>) {
  var i = 0
  while i &+ 16 <= count {
    let words = UnsafeRawPointer(halves + i).loadUnaligned(as: SIMD16<UInt16>.self)
    store(
      unsafeBitCast(SIMD16<UInt32>(truncatingIfNeeded: words) &<< 16, to: SIMD16<Float>.self), values + i)
    i &+= 16
  }
  while i < count {
    values[i] = Float(bitPattern: UInt32(halves[i]) << 16)
    i &+= 1
  }
}

/// To nearest, ties to even; what is not finite stays so.
@inline(__always)
private func rounded(_ values: SIMD16<Float>) -> SIMD16<Float> {
  let bits = unsafeBitCast(values, to: SIMD16<UInt32>.self)
  let nearest = (bits &+ 0x7FFF &+ ((bits &>> 16) & 1)) & 0xFFFF_0000
  let special = (bits & 0xFFFF_0000) | 0x0040_0000
  let isNaN = (bits & 0x7FFF_FFFF) .> 0x7F80_0000
  return unsafeBitCast(nearest.replacing(with: special, where: isNaN), to: SIMD16<Float>.self)
}

@inline(__always)
private func load(_ pointer: UnsafePointer<Float>) -> SIMD16<Float> {
  UnsafeRawPointer(pointer).loadUnaligned(as: SIMD16<Float>.self)
}

@inline(__always)
private func store(_ value: SIMD16<Float>, _ pointer: UnsafeMutablePointer<Float>) {
  UnsafeMutableRawPointer(pointer).storeBytes(of: value, as: SIMD16<Float>.self)
}
