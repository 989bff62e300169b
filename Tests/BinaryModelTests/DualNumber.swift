import Foundation

/// A number and its derivative in one direction: derivatives by plain arithmetic, exact but for rounding.
struct Dual {
  var value: Double
  var tangent: Double

  init(_ value: Double, tangent: Double = 0) {
    self.value = value
    self.tangent = tangent
  }

  static func + (a: Dual, b: Dual) -> Dual { Dual(a.value + b.value, tangent: a.tangent + b.tangent) }
  static func - (a: Dual, b: Dual) -> Dual { Dual(a.value - b.value, tangent: a.tangent - b.tangent) }
  static func * (a: Dual, b: Dual) -> Dual {
    Dual(a.value * b.value, tangent: a.tangent * b.value + a.value * b.tangent)
  }
  static func / (a: Dual, b: Dual) -> Dual {
    let quotient = a.value / b.value
    return Dual(quotient, tangent: (a.tangent - quotient * b.tangent) / b.value)
  }
  static func * (a: Double, b: Dual) -> Dual { Dual(a * b.value, tangent: a * b.tangent) }
  static func += (a: inout Dual, b: Dual) { a = a + b }

  private func mapped(_ value: Double, slope: Double) -> Dual { Dual(value, tangent: slope * tangent) }

  var exponential: Dual { mapped(exp(value), slope: exp(value)) }
  var logarithm: Dual { mapped(log(value), slope: 1 / value) }
  var squareRoot: Dual { mapped(value.squareRoot(), slope: 0.5 / value.squareRoot()) }
  var hyperbolicTangent: Dual { mapped(tanh(value), slope: 1 - tanh(value) * tanh(value)) }
  var rectified: Dual { value > 0 ? self : Dual(0) }
  /// x·Φ(x)
  var gelu: Dual {
    let area = Dual(
      0.5 * erfc(-value / 2.0.squareRoot()),
      tangent: tangent * exp(-value * value / 2) / (2 * Double.pi).squareRoot())
    return self * area
  }
}

/// −log softmax(logits)[label]
func crossEntropy(_ logits: ArraySlice<Dual>, label: Int) -> Dual {
  let top = logits.map(\.value).max()!
  var sum = Dual(0)
  for logit in logits { sum += (logit - Dual(top)).exponential }
  return sum.logarithm + Dual(top) - logits[logits.startIndex + label]
}
