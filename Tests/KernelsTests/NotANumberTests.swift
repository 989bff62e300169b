import Kernels
import Testing

extension KernelSuites {
  /// NaN must not vanish in a kernel, or nobody learns that weights or gradients are damaged.
  @Suite struct NotANumber {
    /// In a whole vector of 16 lanes, in the lanes of its tail, and alone.
    static let places = [(1, 0), (16, 0), (16, 15), (37, 5), (37, 36)]

    /// Every instruction set that this processor has.
    private func withEverySet(_ body: (String) throws -> Void) throws {
      for set in InstructionSet.available {
        try InstructionSet.select(set)
        try body(set)
      }
      try InstructionSet.select(InstructionSet.available[0])
    }

    @Test(arguments: places) func elementwise(count: Int, place: Int) throws {
      try withEverySet { set in
        for value in [Float.nan, -.nan, .signalingNaN] {
          var draws = Draws(UInt32(count))
          var arena = Arena()
          var x = draws.mixed(count)
          x[place] = value
          let (bad, good) = (arena.floats(x), arena.floats(draws.mixed(count)))
          func expectNaN(_ kernel: String, _ start: FloatView, _ body: (FloatView) -> Void) {
            let out = FloatBuffer(count: count)
            out.view.copy(from: start)
            body(out.view)
            for i in 0..<count {
              #expect(out.view[i].isNaN == (i == place), "\(kernel), \(set): element \(i) of \(count)")
            }
          }
          expectNaN("gelu", good) { $0.gelu(of: bad) }
          expectNaN("gelu backward", good) { $0.multiplyByGELUDerivative(at: bad) }
          expectNaN("gelu backward of NaN", bad) { $0.multiplyByGELUDerivative(at: good) }
          expectNaN("relu", bad) { $0.rectify() }
          expectNaN("relu backward", good) { $0.rectifyBackward(bad) }
          expectNaN("tanh", bad) { $0.tanh() }
          expectNaN("tanh backward", good) { $0.tanhBackward(bad) }
          expectNaN("add", good) { $0.add(bad) }
          expectNaN("scale", bad) { $0.multiply(by: 0.3) }
          #expect(bad.sum().isNaN && bad.sumOfAbsolutes().isNaN && bad.sumOfSquares().isNaN, "\(set)")
          #expect(bad.squaredDifference(to: good, factor: 1, addingTo: nil).isNaN, "\(set)")
          let parameters = FloatBuffer(count: count)
          let moments = FloatBuffer(count: 2 * count)
          AdamW(step: 1, learningRate: 1e-3, gradientFactor: 1).update(
            parameters.view, gradients: bad, firstMoments: moments.view[0..<count],
            secondMoments: moments.view[count..<2 * count], decay: 0)
          #expect(parameters.view[place].isNaN, "AdamW, \(set)")
        }
      }
    }

    /// Kernels over rows: the whole row is NaN, and no other.
    @Test(arguments: places) func byRows(columns: Int, place: Int) throws {
      try withEverySet { set in
        var draws = Draws(UInt32(columns))
        var arena = Arena()
        var values = draws.mixed(3 * columns)
        values[columns + place] = .nan
        func matrix() -> MatrixView { arena.matrix(values, rows: 3, columns: columns) }
        func rows(_ m: MatrixView) -> [[Bool]] {
          (0..<3).map { row in (0..<columns).map { m[row, $0].isNaN } }
        }
        let expected = [false, true, false].map { [Bool](repeating: $0, count: columns) }
        let probabilities = matrix()
        softmaxSerial(probabilities, extra: nil, length: columns, factor: 0.3)
        #expect(rows(probabilities) == expected, "softmax, \(set)")

        let weight = arena.floats([Float](repeating: 1, count: columns))
        let (hat, inverse, out) = (arena.floats(3 * columns), arena.floats(3), arena.floats(3 * columns))
        normalise(
          matrix(), epsilon: 1e-12, weight: weight, bias: weight, normalised: hat, inverseDeviation: inverse,
          into: out)
        #expect(rows(MatrixView(out, rows: 3, columns: columns)) == expected, "layer normalisation, \(set)")

        let logits = matrix()
        for row in 0..<3 {
          let own = FloatView(base: logits.base + row * columns, count: columns)
          let result = crossEntropy(own, label: 0, factor: 1)
          #expect(result.loss.isNaN == (row == 1), "cross entropy, \(set)")
        }
        #expect(rows(logits)[1] == expected[1], "cross entropy, \(set)")
      }
    }

    /// Gradients rounded to 8 bits have no NaN of their own: it must come back with the scale of its row and column.
    @Test(arguments: [Float.nan, .infinity, -.infinity]) func roundedGradient(value: Float) throws {
      try withEverySet { set in
        let (rows, columns, outputs) = (5, 37, 20)
        var draws = Draws(3)
        var arena = Arena()
        let gradient = arena.matrix(draws.floats(rows * columns), rows: rows, columns: columns)
        gradient[2, 33] = value
        let weight = arena.bits(draws.bits(columns, outputs))
        let (signs, within) = (arena.bits(draws.bits(rows, outputs)), arena.bits(draws.bits(rows, outputs)))
        let weightGradient = MatrixView(arena.floats(columns * outputs), rows: columns, columns: outputs)
        let dx = MatrixView(arena.floats(rows * outputs), rows: rows, columns: outputs)
        let (sums, shifts) = (arena.floats(columns), arena.floats(outputs))
        let rounded = RoundedGradient(rows: rows, columns: columns, outputs: outputs, in: &arena)
        rounded.round(
          gradient, draw: BackwardRounding(seed: 1).draw(place: 0, epoch: 0, sample: 0),
          addingColumnSumsTo: sums)
        let step = rounded.products(
          gradient, weight: weight, weightScale: 0.1, input: .signs(signs, within: within, step: 1),
          weightGradient: .view(weightGradient), add: false, dx: dx, shiftGradient: shifts)
        #expect(!step.isFinite && !sums[33].isFinite, "\(set)")
        for output in 0..<outputs {
          #expect(!weightGradient[33, output].isFinite && weightGradient[32, output].isFinite, "\(set)")
          #expect(dx[1, output].isFinite, "\(set)")
          #expect(dx[2, output].isFinite == !within[2, output], "\(set): output \(output)")
        }
      }
    }
  }
}
