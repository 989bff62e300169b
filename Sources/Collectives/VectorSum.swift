/// result[i] = left[i] + right[i] for i in 0 ..< count. `result` may be `left` or `right`.
///
/// - Cost: `count` additions; the loop vectorises, since no order of additions changes.
@inline(__always)
func addVectors(
  _ left: UnsafePointer<Float>, _ right: UnsafePointer<Float>, count: Int,
  into result: UnsafeMutablePointer<Float>
) {
  var i = 0
  while i &+ 16 <= count {
    let l = UnsafeRawPointer(left + i).loadUnaligned(as: SIMD16<Float>.self)
    let r = UnsafeRawPointer(right + i).loadUnaligned(as: SIMD16<Float>.self)
    UnsafeMutableRawPointer(result + i).storeBytes(of: l + r, as: SIMD16<Float>.self)
    i &+= 16
  }
  while i < count {
    result[i] = left[i] + right[i]
    i &+= 1
  }
}
