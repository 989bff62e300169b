import Kernels
import Testing

extension KernelSuites {
  /// Every instruction set gives the same bits, in every floating-point kernel and size.
  @Suite(severalInstructionSets) struct SameBits {
    /// Results by the name of the kernel.
    typealias Results = [(kernel: String, bits: [UInt64])]

    static let counts = [1, 2, 15, 16, 17, 31, 33, 48, 63, 64, 65, 100, 127, 130, 257]

    private func compare(_ what: String, _ run: () -> Results) throws {
      var first: Results?
      for set in InstructionSet.available {
        try InstructionSet.select(set)
        let found = run()
        guard let expected = first else {
          first = found
          continue
        }
        for (a, b) in zip(expected, found) {
          #expect(
            a.kernel == b.kernel && a.bits == b.bits,
            "\(a.kernel), \(what): \(set) differs from \(InstructionSet.available[0])")
        }
      }
    }

    private func bits(_ values: [Float]) -> [UInt64] { values.map { UInt64($0.bitPattern) } }

    @Test(arguments: counts) func elementwise(count: Int) throws {
      try compare("\(count) elements") {
        var draws = Draws(UInt32(count))
        var arena = Arena()
        var results: Results = []
        let (x, y) = (draws.mixed(count), draws.mixed(count))
        func record(
          _ name: String, _ start: [Float], _ arena: inout Arena, _ body: (FloatView) -> Void
        ) {
          let view = arena.floats(start)
          body(view)
          results.append((name, bits(view.array)))
        }
        let (xs, ys) = (arena.floats(x), arena.floats(y))
        record("add", y, &arena) { $0.add(xs) }
        record("scale", y, &arena) { $0.multiply(by: 0.3) }
        record("gelu", y, &arena) { $0.gelu(of: xs) }
        record("gelu backward", y, &arena) { $0.multiplyByGELUDerivative(at: xs) }
        record("relu", x, &arena) { $0.rectify() }
        record("relu backward", y, &arena) { $0.rectifyBackward(xs) }
        record("tanh", x, &arena) { $0.tanh() }
        record("tanh backward", y, &arena) { $0.tanhBackward(xs) }
        record("squared difference", y, &arena) {
          results.append(
            ("its sum", [xs.squaredDifference(to: ys, factor: 0.7, addingTo: $0).bitPattern]))
        }
        results.append(("sum", [xs.sum().bitPattern]))
        results.append(("sum of absolutes", [xs.sumOfAbsolutes().bitPattern]))
        results.append(("sum of squares", [xs.sumOfSquares().bitPattern]))
        let (m, v) = (arena.floats(draws.floats(count)), arena.floats(draws.floats(count, 0...1e-3)))
        record("AdamW", x, &arena) {
          for step in 1...3 {
            AdamW(step: step, learningRate: 1e-2, gradientFactor: 0.9).update(
              $0, gradients: ys, firstMoments: m, secondMoments: v, decay: 0.01)
          }
        }
        results.append(("AdamW moments", bits(m.array + v.array)))
        for power in [-20, -3, 0, 4] {
          var (wide, short) = ([UInt32](repeating: 5, count: count), [UInt16](repeating: 5, count: count))
          let largest = [
            UInt32.add(copyOf: xs.array, power: power, to: &wide),
            UInt16.add(copyOf: ys.array, power: power, to: &short),
          ]
          record("integers", x, &arena) { UInt32.read(wide, count: count, power: power, into: $0.base) }
          record("short integers", x, &arena) {
            UInt16.read(short, count: count, power: power, into: $0.base)
          }
          results.append(("multiples", wide.map { UInt64($0) } + short.map { UInt64($0) } + bits(largest)))
        }
        let logits = arena.floats(draws.mixed(count, largest: 50))
        let loss = crossEntropy(logits, label: count / 2, factor: 0.25)
        results.append(("cross entropy", bits(logits.array)))
        results.append(("its loss", [loss.loss.bitPattern, UInt64(loss.best)]))
        return results
      }
    }

    @Test(arguments: counts) func byRows(columns: Int) throws {
      for rows in [1, 3, 70] {
        try compare("\(rows)×\(columns)") {
          var draws = Draws(UInt32(10_000 + columns))
          var arena = Arena()
          var results: Results = []
          let count = rows * columns
          let x = arena.matrix(draws.mixed(count), rows: rows, columns: columns)
          let other = arena.matrix(draws.mixed(count), rows: rows, columns: columns)
          let (weight, bias) = (arena.floats(draws.mixed(columns)), arena.floats(draws.mixed(columns)))
          results.append(("shifted absolutes", [x.sumOfAbsolutes(shift: bias).bitPattern]))
          let sums = arena.floats(draws.floats(columns))
          x.addColumnSums(to: sums)
          x.addColumnDots(with: other, to: sums)
          results.append(("column sums", bits(sums.array)))

          let (hat, y) = (arena.floats(count), arena.floats(count))
          let inverse = arena.floats(rows)
          normalise(
            x, epsilon: 1e-12, weight: weight, bias: bias, normalised: hat, inverseDeviation: inverse, into: y
          )
          results.append(("layer normalisation", bits(hat.array + inverse.array + y.array)))
          normaliseBackward(other, weight: weight, normalised: hat, inverseDeviation: inverse, into: y)
          results.append(("its backward", bits(y.array)))

          let (signs, within) = (
            arena.bits(rows: rows, columns: columns), arena.bits(rows: rows, columns: columns)
          )
          pack(x, shift: bias, step: 1, signs: signs, within: within)
          results.append(("pack", signs.array + within.array))
          let sum = signBackward(
            other, signs: signs, within: within, add: true, dx: x, shiftGradient: sums)
          results.append(("sign backward", bits(x.array + sums.array) + [sum.bitPattern]))
          signs.unpack(high: 0.3, low: -0.3, into: x)
          results.append(("unpack", bits(x.array)))
          return results
        }
      }
    }

    @Test(arguments: counts) func attention(columns: Int) throws {
      for (rows, length) in [(1, columns), (5, (columns + 1) / 2), (columns, columns)] {
        try compare("\(rows)×\(columns), \(length) keys") {
          var draws = Draws(UInt32(20_000 + columns))
          var arena = Arena()
          var results: Results = []
          let count = rows * columns
          let p = arena.matrix(draws.mixed(count, largest: 300), rows: rows, columns: columns)
          softmaxSerial(p, extra: arena.floats(draws.mixed(count, largest: 9)), length: length, factor: 0.35)
          results.append(("softmax", bits(p.array)))
          let keep = arena.bits(rows: rows, columns: columns)
          let dropout = Dropout(rate: 0.3, seed: 5)
          dropout.draw(place: 3, part: 2, epoch: 1, sample: 1 << 40 + 17, into: keep)
          results.append(("dropout bits", keep.array))
          let dropped = arena.floats(draws.mixed(count))
          dropout.apply(keep, to: dropped)
          results.append(("dropout", bits(dropped.array)))
          for keep in [nil, keep] {
            let probabilityBits = arena.bits(rows: rows, columns: columns)
            let step = 0.8 / Float(length)
            binariseProbabilitiesSerial(p, keep: keep, factor: 1.25, step: step, into: probabilityBits)
            let g = arena.matrix(draws.mixed(count), rows: rows, columns: columns)
            let sum = probabilitiesBackwardSerial(
              p, keep: keep, dropoutFactor: 1.25, step: step, scoreFactor: 0.35, gradient: g)
            results.append(("probability bits", probabilityBits.array))
            results.append(("probabilities backward", bits(g.array) + [sum.bitPattern]))
          }
          return results
        }
      }
    }
  }
}
