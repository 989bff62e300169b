import Collectives
import Kernels

/// Gradients whose sum depends on the order of additions, the same on every rank.
func gradient(lane: Int, count: Int) -> [Float] {
  var random = CounterRandom(seed: 7, purpose: .initialisation).stream(UInt32(lane))
  return (0..<count).map { _ in
    let magnitude = Float(sign: .plus, exponent: Int(random.next(below: 24)) - 12, significand: 1)
    return (random.unit() - 0.5) * magnitude
  }
}

/// The sum over lanes 0 ..< laneCount by the tree's definition alone: the halves of the smallest power of two that
/// covers all lanes, recursively. In bfloat16 every value below the root is rounded; `isRoot` is false where the sum is
/// itself part of a larger tree.
func referenceSum(
  laneCount: Int, gradients: [[Float]], format: WireFormat = .float32, isRoot: Bool = true
) -> [Float] {
  var width = 1
  while width < laneCount { width *= 2 }
  func value(_ first: Int, _ part: Int) -> [Float]? {
    if first >= laneCount { return nil }
    let exact: [Float]
    if part == 1 {
      exact = gradients[first]
    } else {
      let left = value(first, part / 2)!
      exact = value(first + part / 2, part / 2).map { zip(left, $0).map { $0 + $1 } } ?? left
    }
    return format == .bfloat16 && !(isRoot && part == width) ? exact.map(nearestBFloat16) : exact
  }
  return value(0, width)!
}

/// The nearest number of 8 significant bits, ties to even; for normal numbers.
func nearestBFloat16(_ value: Float) -> Float {
  if value == 0 || !value.isFinite { return value }
  let unit = Float(sign: .plus, exponent: value.exponent - 7, significand: 1)
  return (value / unit).rounded(.toNearestOrEven) * unit
}

func bits(_ values: [Float]) -> [UInt32] { values.map(\.bitPattern) }
