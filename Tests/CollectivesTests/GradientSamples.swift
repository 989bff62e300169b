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
/// covers all lanes, recursively.
func referenceSum(laneCount: Int, gradients: [[Float]]) -> [Float] {
  func value(_ first: Int, _ width: Int) -> [Float]? {
    if first >= laneCount { return nil }
    if width == 1 { return gradients[first] }
    let left = value(first, width / 2)!
    guard let right = value(first + width / 2, width / 2) else { return left }
    return zip(left, right).map { $0 + $1 }
  }
  var width = 1
  while width < laneCount { width *= 2 }
  return value(0, width)!
}

func bits(_ values: [Float]) -> [UInt32] { values.map(\.bitPattern) }
