import Kernels

/// Gradients whose sum in floating point depends on the order of additions, the same on every rank.
func gradient(lane: Int, count: Int) -> [Float] {
  var random = CounterRandom(seed: 7, purpose: .initialisation).stream(UInt32(lane))
  return (0..<count).map { _ in
    let magnitude = Float(sign: .plus, exponent: Int(random.next(below: 24)) - 12, significand: 1)
    return (random.unit() - 0.5) * magnitude
  }
}

func bits(_ values: [Float]) -> [UInt32] { values.map(\.bitPattern) }
