import BinaryModel
import Kernels
import Testing

/// Gradients whose products are rounded, against those in float32.
@Suite struct BackwardPrecisionTests {
  /// Every tensor's gradient keeps its size and direction.
  ///
  /// The bound tells a forgotten or doubled scale from rounding. All that scales a backward product is a step size α, the
  /// mean m of a weight matrix, or 1/127 of a maximum. Without one of them the tensors behind it are multiplied by 1/α, 1/m
  /// or 127, and their relative error is |1 − that|. The test asks that no α and no m of its model is so near to 1 that
  /// this would pass.
  @Test(arguments: [(BackwardPrecision.bfloat16, 0.02), (.int8, 0.12)])
  func gradientsAreThoseOfFloat32(precision: BackwardPrecision, bound: Double) {
    let configuration = ModelConfiguration(
      vocabularySize: 300, hiddenSize: 72, layers: 2, heads: 3, intermediateSize: 150, maximumLength: 40,
      estimatorRank: 2, dropout: 0)
    var tiny = TinyModel(configuration, sequences: 5, length: 33, seed: 11)
    for parameter in tiny.layout.parameters {
      if parameter.kind == .stepSize, (0.7...1.4).contains(tiny.values[parameter.offset]) {
        tiny.values[parameter.offset] *= 0.5
      }
      let values = tiny.values[parameter.range].map { Double($0) }
      switch parameter.kind {
      case .stepSize: #expect(abs(1 - 1 / values[0]) > 2 * bound, "\(parameter.name) is \(values[0])")
      case .binaryMatrix:
        let mean = values.reduce(0) { $0 + abs($1) } / Double(values.count)
        #expect(abs(1 - 1 / mean) > 2 * bound, "mean of \(parameter.name) is \(mean)")
      case .binaryTable, .real: break
      }
    }
    let exact = tiny.train(isDistilled: true)
    let rounded = tiny.train(isDistilled: true, precision: precision)
    #expect(rounded.sums == exact.sums)
    func norm(_ values: [Double]) -> Double { values.reduce(0) { $0 + $1 * $1 }.squareRoot() }
    // In a tensor of one number nothing averages the noise out, so these are compared as one.
    var single: (found: [Double], expected: [Double]) = ([], [])
    func compare(_ name: String, _ found: [Double], _ expected: [Double]) {
      let error = norm(zip(found, expected).map { $0 - $1 }) / norm(expected)
      #expect(error < bound, "\(name): relative error \(error) of a gradient of norm \(norm(expected))")
    }
    for parameter in tiny.layout.parameters {
      let expected = exact.gradients[parameter.range].map { Double($0) }
      let found = rounded.gradients[parameter.range].map { Double($0) }
      if parameter.name.contains(".k_m.bias") || parameter.name.contains(".k_p.bias") {
        // What is added to all scores of a query drops out of its softmax: zero but for rounding.
        #expect(norm(expected) < 1e-7 && norm(found) < 1e-7, "\(parameter.name)")
      } else if parameter.count == 1 {
        single.found += found
        single.expected += expected
      } else {
        compare(parameter.name, found, expected)
      }
    }
    compare("step sizes and biases of one number", single.found, single.expected)
  }
}
