import BinaryInference
import CBitKernels
import Testing

/// Thresholds against the float formula, at every count.
struct CountThresholdTests {
  /// y as the float products have it: −2s·(c − K/2) + bias, fused.
  private func output(_ count: Int, inputs: Int, scale: Float, bias: Float) -> Float {
    bias.addingProduct(-2 * scale, Float(count) - Float(inputs) / 2)
  }

  private func gelu(_ x: [Float]) -> [Float] {
    var y = x
    bk_choose(nil)!.pointee.gelu(x, x.count, &y)
    return y
  }

  /// What the thresholds say of each count of output `output`.
  private func bits(_ thresholds: CountThresholds, output: Int, inputs: Int) -> [Bool] {
    var bits = (0...inputs).map { count in
      count < thresholds.low[output] || thresholds.high.map { count >= $0[output] } ?? false
    }
    for exception in thresholds.exceptions where exception.output == output {
      bits[Int(exception.count)].toggle()
    }
    return bits
  }

  @Test(arguments: [1, 2, 63, 64, 130, 768]) func signs(inputs: Int) {
    let reach = Float(inputs)
    let biases: [Float] =
      [0, -0.0, 1, -1, 0.37, -0.37, 0.1 * reach, -0.1 * reach, reach, -reach, 1e-30, .nan, .infinity]
      + (0..<120).map { Float($0 - 60) * 0.013 }
    for scale: Float in [0.37, 1e-5, 1, 0] {
      let thresholds = CountThresholds(
        scale: scale, bias: biases, shift: nil, outputs: biases.count, inputs: inputs)
      #expect(thresholds.high == nil && thresholds.exceptions.isEmpty)
      for (index, bias) in biases.enumerated() {
        let expected = (0...inputs).map { output($0, inputs: inputs, scale: scale, bias: bias) >= 0 }
        #expect(bits(thresholds, output: index, inputs: inputs) == expected, "scale \(scale), bias \(bias)")
      }
    }
  }

  @Test(arguments: [1, 65, 768]) func gelus(inputs: Int) {
    // Above and below its least value, where it falls and where it rises, and where rounding moves it up and down.
    let shifts: [Float] =
      [0, -0.0, 0.1, -0.1, 0.16997, 0.17, 0.1699712, -1, 1, -1e-7, .nan]
      + (0..<40).map { 1e-7 + 2e-8 * Float($0) }
    let biases: [Float] = [0, 0.5, -0.75, -4, -5.2, 3]
    let pairs = biases.flatMap { bias in shifts.map { (bias, $0) } }
    var exceptions = 0
    for scale: Float in [0.02, 0.001, 0.3] {
      let thresholds = CountThresholds(
        scale: scale, bias: pairs.map(\.0), shift: pairs.map(\.1), outputs: pairs.count, inputs: inputs)
      exceptions += thresholds.exceptions.count
      for (index, (bias, shift)) in pairs.enumerated() {
        let values = gelu((0...inputs).map { output($0, inputs: inputs, scale: scale, bias: bias) })
        #expect(
          bits(thresholds, output: index, inputs: inputs) == values.map { $0 + shift >= 0 },
          "scale \(scale), bias \(bias), shift \(shift)")
      }
    }
    // The list is not there for nothing.
    if inputs == 768 { #expect(exceptions > 0) }
  }

  @Test func mostInputs() {
    let inputs = CountThresholds.inputLimit
    let all = CountThresholds(scale: 1, bias: [1e6], shift: nil, outputs: 1, inputs: inputs)
    #expect(all.low == [.max])
    let none = CountThresholds(scale: 1, bias: [-1e6], shift: [-1], outputs: 1, inputs: inputs)
    #expect(none.low == [0] && none.high == [.max])
  }
}
