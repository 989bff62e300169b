import Foundation
import Kernels
import Testing

extension KernelSuites {
  /// Floating-point kernels against double precision. All instruction sets give the same bits (`SameBits`).
  @Suite struct Accuracy {
    /// Evenly over −12…12, and some values close to zero and to the seams of the approximations.
    static let arguments: [Float] =
      (-12_000...12_000).map { Float($0) / 1_000 } + [
        0, -0.0, 1e-30, -1e-30, 1e-6, -1e-6, 1e-3, 0.24999, 0.25001, 0.99999, 1.00001, 3.99999, 4.00001,
        Float(2).squareRoot(), 5.65685, 5.65686, 40, -40, 1e4, -1e4,
      ]

    /// Runs `body` on `values` in place.
    private func map(_ values: [Float], _ body: (FloatView) -> Void) -> [Float] {
      var arena = Arena()
      let view = arena.floats(values)
      body(view)
      return view.array
    }

    private func area(_ x: Double) -> Double { 0.5 * erfc(-x / 2.0.squareRoot()) }

    @Test func gelu() {
      var arena = Arena()
      let x = arena.floats(Self.arguments)
      let y = map(Self.arguments) { $0.gelu(of: x) }
      let slopes = map([Float](repeating: 1, count: x.count)) { $0.multiplyByGELUDerivative(at: x) }
      for (i, argument) in Self.arguments.enumerated() {
        let x = Double(argument)
        let expected = x * area(x)
        #expect(abs(Double(y[i]) - expected) < 2e-7 * max(1, abs(x)), "GELU of \(x): \(y[i]), \(expected)")
        let slope = area(x) + x * exp(-x * x / 2) / (2 * Double.pi).squareRoot()
        #expect(abs(Double(slopes[i]) - slope) < 3e-7, "GELU's slope at \(x): \(slopes[i]), \(slope)")
      }
    }

    @Test func tanh() {
      let y = map(Self.arguments) { $0.tanh() }
      for (i, x) in Self.arguments.enumerated() {
        let expected = Foundation.tanh(Double(x))
        #expect(
          abs(Double(y[i]) - expected) <= 3e-7 * abs(expected) + 1e-36, "tanh \(x): \(y[i]), \(expected)")
        #expect(abs(y[i]) <= 1)
      }
      let slopes = map([Float](repeating: 2, count: y.count)) {
        var arena = Arena()
        $0.tanhBackward(arena.floats(y))
      }
      for i in y.indices {
        #expect(abs(Double(slopes[i]) - 2 * (1 - Double(y[i]) * Double(y[i]))) < 3e-7)
      }
    }

    @Test func rectifier() {
      let x: [Float] = [-1, -0.0, 0, 1e-30, 3, -2, 5]
      #expect(map(x) { $0.rectify() } == [0, 0, 0, 1e-30, 3, 0, 5])
      var arena = Arena()
      let y = arena.floats(map(x) { $0.rectify() })
      #expect(map([1, 2, 3, 4, 5, 6, 7]) { $0.rectifyBackward(y) } == [0, 0, 0, 4, 5, 0, 7])
    }

    /// The exponential's error shows through softmax: two keys, p₀ = 1 / (1 + eˣ) and p₁ = eˣ p₀ for x ≤ 0.
    @Test func exponential() {
      var worst = 0.0
      for step in 0...8_700 {
        let x = -Float(step) / 100
        let p = map([0, x]) {
          softmaxSerial(MatrixView($0, rows: 1, columns: 2), extra: nil, length: 2, factor: 1)
        }
        let expected = exp(Double(x))
        worst = max(worst, abs(Double(p[1]) / Double(p[0]) / expected - 1))
      }
      #expect(worst < 4e-7, "relative error \(worst)")
      let far = map([0, -88, -1e30]) {
        softmaxSerial(MatrixView($0, rows: 1, columns: 3), extra: nil, length: 3, factor: 1)
      }
      #expect(far == [1, 0, 0])
    }

    @Test(arguments: [(1, 1), (1, 9), (8, 9), (16, 16), (17, 40), (128, 128), (100, 128)])
    func softmax(length: Int, columns: Int) {
      var draws = Draws(UInt32(length))
      var arena = Arena()
      let rows = 4
      let (s, extra) = (draws.floats(rows * columns, -60...60), draws.floats(rows * columns, -5...5))
      for usesExtra in [false, true] {
        let p = arena.matrix(s, rows: rows, columns: columns)
        let factor: Float = 0.125
        softmaxSerial(p, extra: usesExtra ? arena.floats(extra) : nil, length: length, factor: factor)
        for row in 0..<rows {
          let scores = (0..<length).map { column in
            let i = row * columns + column
            return (Double(s[i]) + (usesExtra ? Double(extra[i]) : 0)) * Double(factor)
          }
          let top = scores.max()!
          let sum = scores.reduce(0) { $0 + exp($1 - top) }
          for column in 0..<columns {
            let expected = column < length ? exp(scores[column] - top) / sum : 0
            #expect(abs(Double(p[row, column]) - expected) <= 3e-6 * expected, "\(row), \(column)")
          }
        }
      }
    }

    /// Binarised probabilities and their gradient, with and without dropout, against METHOD's table.
    @Test(arguments: [false, true]) func probabilities(isDropped: Bool) {
      var draws = Draws(77)
      var arena = Arena()
      let (rows, columns, length) = (9, 37, 31)
      let p = arena.matrix(draws.floats(rows * columns, -6...6), rows: rows, columns: columns)
      softmaxSerial(p, extra: nil, length: length, factor: 0.5)
      let keepBits = draws.bits(rows, columns)
      let keep = isDropped ? arena.bits(keepBits) : nil
      let (step, dropoutFactor, scoreFactor): (Float, Float, Float) = (0.07, 1.25, 0.3)
      let bits = arena.bits(rows: rows, columns: columns)
      binariseProbabilitiesSerial(p, keep: keep, factor: dropoutFactor, step: step, into: bits)
      let incoming = draws.floats(rows * columns)
      let g = arena.matrix(incoming, rows: rows, columns: columns)
      let sum = probabilitiesBackwardSerial(
        p, keep: keep, dropoutFactor: dropoutFactor, step: step, scoreFactor: scoreFactor, gradient: g)
      var stepSum = 0.0
      for row in 0..<rows {
        var dP = [Double](repeating: 0, count: columns)
        for column in 0..<columns {
          let kept = !isDropped || keepBits[row][column]
          let factor = isDropped ? Double(dropoutFactor) : 1
          let q = kept ? Double(p[row, column]) * factor / Double(step) : 0
          let d = Double(incoming[row * columns + column])
          #expect(bits[row, column] == (q > 0.5))
          stepSum += q > 1 ? d : ((q > 0.5 ? 1 : 0) - q) * d
          if q <= 1 && kept { dP[column] = d * factor }
        }
        let mean = (0..<columns).reduce(0.0) { $0 + dP[$1] * Double(p[row, $1]) }
        for column in 0..<columns {
          let expected = Double(p[row, column]) * (dP[column] - mean) * Double(scoreFactor)
          #expect(abs(Double(g[row, column]) - expected) < 1e-6)
        }
      }
      #expect(abs(sum - stepSum) < 1e-4)
    }

    /// p = α/2 rounds to 0 (half to even); the gradient passes at p = α, and not above.
    @Test(arguments: InstructionSet.available) func probabilityThresholds(set: String) throws {
      try InstructionSet.select(set)
      var arena = Arena()
      let p = arena.matrix([0.5, 0.25, 0.125, 0.125, 0], rows: 1, columns: 5)
      let bits = arena.bits(rows: 1, columns: 5)
      binariseProbabilitiesSerial(p, keep: nil, factor: 1, step: 0.25, into: bits)
      #expect((0..<5).map { bits[0, $0] } == [true, true, false, false, false])
      let g = arena.matrix([1, 2, 4, 8, 16], rows: 1, columns: 5)
      let sum = probabilitiesBackwardSerial(
        p, keep: nil, dropoutFactor: 1, step: 0.25, scoreFactor: 1, gradient: g)
      // α: 1·1 above, (1 − 1)·2, (0 − 1/2)·4, (0 − 1/2)·8.
      #expect(sum == 1 + 0 - 2 - 4)
      // dp = (0, 2, 4, 8, 16), Σ p·dp = 2, ds = p (dp − 2).
      #expect(g.array == [-1, 0, 0.25, 0.75, 0])
    }

    @Test(arguments: [1, 2, 16, 17, 1_000, 30_522]) func crossEntropyOfRandomLogits(count: Int) {
      var draws = Draws(UInt32(count))
      check(draws.floats(count, -8...8), label: draws.integer(below: count))
    }

    /// The loss is nearly 0 where the label dominates, and the whole difference where another does.
    @Test func crossEntropyOfADominatingLogit() {
      var logits = [Float](repeating: -3, count: 50)
      logits[20] = 90
      check(logits, label: 20)
      check(logits, label: 49)
      check([-1e4, 1e4], label: 0)
      check([7, 7, 7], label: 2)
    }

    private func check(_ logits: [Float], label: Int) {
      var arena = Arena()
      let view = arena.floats(logits)
      let found = crossEntropy(view, label: label, factor: 0.5)
      let top = logits.max()!
      let sum = logits.reduce(0.0) { $0 + exp(Double($1) - Double(top)) }
      let loss = log(sum) + Double(top) - Double(logits[label])
      #expect(abs(found.loss - loss) < 1e-6 * max(1, loss), "\(found.loss), expected \(loss)")
      #expect(found.best == logits.firstIndex(of: top))
      for (i, logit) in logits.enumerated() {
        let p = exp(Double(logit) - Double(top)) / sum
        let expected = 0.5 * (p - (i == label ? 1 : 0))
        #expect(abs(Double(view[i]) - expected) < 2e-7 * max(p, i == label ? 1 : 0) + 1e-38, "logit \(i)")
      }
    }

    @Test(arguments: [1, 3, 24, 63, 768]) func layerNormalisation(columns: Int) {
      var draws = Draws(UInt32(columns))
      var arena = Arena()
      let rows = 5
      let epsilon: Float = 1e-5
      let x = arena.matrix(draws.floats(rows * columns, -2...5), rows: rows, columns: columns)
      let (weight, bias) = (draws.floats(columns), draws.floats(columns))
      let (hat, y, inverse) = (arena.floats(rows * columns), arena.floats(rows * columns), arena.floats(rows))
      let weights = arena.floats(weight)
      normalise(
        x, epsilon: epsilon, weight: weights, bias: arena.floats(bias), normalised: hat,
        inverseDeviation: inverse, into: y)
      let dy = draws.floats(rows * columns)
      let dx = arena.floats(rows * columns)
      normaliseBackward(
        arena.matrix(dy, rows: rows, columns: columns), weight: weights, normalised: hat,
        inverseDeviation: inverse, into: dx)
      let n = Double(columns)
      for row in 0..<rows {
        let values = (0..<columns).map { Double(x[row, $0]) }
        let mean = values.reduce(0, +) / n
        let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / n
        let scale = 1 / (variance + Double(epsilon)).squareRoot()
        #expect(abs(Double(inverse[row]) / scale - 1) < 1e-5)
        let normal = values.map { ($0 - mean) * scale }
        let g = (0..<columns).map { Double(dy[row * columns + $0]) * Double(weight[$0]) }
        let gMean = g.reduce(0, +) / n
        let projection = (0..<columns).reduce(0.0) { $0 + g[$1] * normal[$1] } / n
        for j in 0..<columns {
          let i = row * columns + j
          #expect(abs(Double(hat[i]) - normal[j]) < 1e-5)
          #expect(abs(Double(y[i]) - normal[j] * Double(weight[j]) - Double(bias[j])) < 1e-5)
          let expected = (g[j] - gMean - normal[j] * projection) * scale
          #expect(abs(Double(dx[i]) - expected) < 1e-5 * max(1, scale), "row \(row), column \(j)")
        }
      }
    }

    @Test func sums() {
      var draws = Draws(5)
      var arena = Arena()
      let (rows, columns) = (150, 70)
      let x = draws.floats(rows * columns)
      let view = arena.floats(x)
      let matrix = MatrixView(view, rows: rows, columns: columns)
      let shift = draws.floats(columns)
      #expect(abs(view.sum() - x.reduce(0) { $0 + Double($1) }) < 1e-9)
      #expect(abs(view.sumOfAbsolutes() - x.reduce(0) { $0 + Double(abs($1)) }) < 1e-9)
      #expect(abs(view.sumOfSquares() - x.reduce(0) { $0 + Double($1) * Double($1) }) < 1e-9)
      let shifted = x.indices.reduce(0.0) { $0 + Double(abs(x[$1] + shift[$1 % columns])) }
      #expect(abs(matrix.sumOfAbsolutes(shift: arena.floats(shift)) - shifted) < 1e-9)
      let other = draws.floats(rows * columns)
      let (columnSums, dots) = (arena.floats(columns), arena.floats(columns))
      columnSums.fill(1)
      dots.fill(-1)
      matrix.addColumnSums(to: columnSums)
      matrix.addColumnDots(with: arena.matrix(other, rows: rows, columns: columns), to: dots)
      let gradient = arena.floats([Float](repeating: 1, count: x.count))
      let squares = view.squaredDifference(to: arena.floats(other), factor: 0.5, addingTo: gradient)
      var expectedSquares = 0.0
      for i in x.indices {
        let d = Double(x[i]) - Double(other[i])
        expectedSquares += d * d
        #expect(abs(Double(gradient[i]) - (1 + 0.5 * d)) < 3e-7)
      }
      #expect(abs(squares / expectedSquares - 1) < 1e-6)
      for j in 0..<columns {
        let own = (0..<rows).map { $0 * columns + j }
        #expect(abs(Double(columnSums[j]) - own.reduce(1.0) { $0 + Double(x[$1]) }) < 1e-4)
        #expect(abs(Double(dots[j]) - own.reduce(-1.0) { $0 + Double(x[$1]) * Double(other[$1]) }) < 1e-4)
      }
      matrix.addToRows(columnSums)
      #expect(matrix[3, 5] == x[3 * columns + 5] + columnSums[5])
    }

    /// Ten steps against the algorithm in double precision.
    @Test func adamW() {
      var draws = Draws(6)
      var arena = Arena()
      let count = 37
      let start = draws.floats(count)
      let (p, m, v) = (arena.floats(start), arena.floats(count), arena.floats(count))
      var (dp, dm, dv) = (
        start.map(Double.init), [Double](repeating: 0, count: count), [Double](repeating: 0, count: count)
      )
      let (rate, decay, factor) = (Float(1e-2), Float(0.1), Float(0.5))
      for step in 1...10 {
        // Among them gradients as small as ε, and none at all.
        let g = draws.floats(count - 2) + [2e-8, 0]
        AdamW(step: step, learningRate: rate, gradientFactor: factor).update(
          p, gradients: arena.floats(g), firstMoments: m, secondMoments: v, decay: decay)
        for i in 0..<count {
          let gradient = Double(g[i]) * Double(factor)
          dm[i] = 0.9 * dm[i] + 0.1 * gradient
          dv[i] = 0.999 * dv[i] + 0.001 * gradient * gradient
          let first = dm[i] / (1 - pow(0.9, Double(step)))
          let second = dv[i] / (1 - pow(0.999, Double(step)))
          dp[i] -= Double(rate) * Double(decay) * dp[i]
          dp[i] -= Double(rate) * first / (second.squareRoot() + 1e-8)
        }
      }
      for i in 0..<count {
        #expect(abs(Double(p[i]) - dp[i]) < 3e-6, "parameter \(i): \(p[i]), expected \(dp[i])")
        #expect(abs(Double(m[i]) - dm[i]) < 1e-6)
        #expect(abs(Double(v[i]) - dv[i]) <= 1e-4 * dv[i])
      }
    }
  }
}
