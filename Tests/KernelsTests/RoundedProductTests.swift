import Kernels
import Testing

extension KernelSuites {
  /// Backward products of gradients rounded to 8 bits, or to bfloat16.
  @Suite struct RoundedProducts {
    /// Rows, columns of the gradient, and outputs: around panels of 8 and 48, groups of 4, draws of 256.
    static let shapes = [
      (1, 1, 1), (3, 5, 47), (8, 16, 48), (9, 255, 49), (12, 257, 100), (33, 40, 150), (70, 300, 64),
    ]

    /// dx, the weight's gradient, the shift's gradient, the column sums and the step size's sum of one draw.
    struct Outcome {
      var dx: [Float]
      var weight: [Float]
      var shift: [Float]
      var bias: [Float]
      var step: Double
    }

    /// Operands of one shape; the gradient's rows and columns differ in size by orders of magnitude, one of them zero.
    struct Operands {
      let (rows, columns, outputs): (Int, Int, Int)
      var gradient: [Float]
      var weight: [[Bool]]
      var signs: [[Bool]]
      var within: [[Bool]]

      init(_ shape: (Int, Int, Int)) {
        (rows, columns, outputs) = shape
        var draws = Draws(UInt32(rows * 1000 + columns))
        gradient = draws.floats(rows * columns)
        for i in gradient.indices {
          gradient[i] *= [1, 1e-3, 30, 0][i / columns % 4] * [1, 1e-2, 5][i % columns % 3]
        }
        weight = draws.bits(columns, outputs)
        signs = draws.bits(rows, outputs)
        within = draws.bits(rows, outputs)
      }

      /// One draw of rounding to 8 bits; with no `sample`, rounding to bfloat16.
      func run(sample: UInt64?) -> Outcome {
        var arena = Arena()
        let g = arena.matrix(gradient, rows: rows, columns: columns)
        let (bias, shift) = (arena.floats(columns), arena.floats(outputs))
        let dx = MatrixView(arena.floats(rows * outputs), rows: rows, columns: outputs)
        let dWeight = MatrixView(arena.floats(columns * outputs), rows: columns, columns: outputs)
        let (weight, signs, within) = (arena.bits(weight), arena.bits(signs), arena.bits(within))
        let step: Double
        if let sample {
          let rounded = RoundedGradient(rows: rows, columns: columns, outputs: outputs, in: &arena)
          let draw = BackwardRounding(seed: 7).draw(place: 2, epoch: 1, sample: sample)
          rounded.round(g, draw: draw, addingColumnSumsTo: bias)
          step = rounded.products(
            g, weight: weight, weightScale: 0.5, input: .signs(signs, within: within, step: 2),
            weightGradient: .view(dWeight),
            add: false, dx: dx, shiftGradient: shift)
        } else {
          let rounded = Bfloat16Gradient(rows: rows, columns: columns, outputs: outputs, in: &arena)
          rounded.round(g, addingColumnSumsTo: bias)
          step = rounded.products(
            g, weight: weight, weightScale: 0.5, input: .signs(signs, within: within, step: 2),
            weightGradient: .view(dWeight),
            add: false, dx: dx, shiftGradient: shift)
        }
        return withExtendedLifetime(arena) {
          Outcome(dx: dx.array, weight: dWeight.array, shift: shift.array, bias: bias.array, step: step)
        }
      }

      /// The exact dx (before the window) and weight gradient, and the sum of |g|'s largest rounding step a product.
      func exact() -> (dx: [Double], weight: [Double], dxBound: [Double], weightBound: [Double]) {
        func sign(_ bit: Bool) -> Double { bit ? 1 : -1 }
        var dx = [Double](repeating: 0, count: rows * outputs)
        var dw = [Double](repeating: 0, count: columns * outputs)
        for i in 0..<rows {
          for k in 0..<columns {
            let value = Double(gradient[i * columns + k])
            for j in 0..<outputs {
              dx[i * outputs + j] += 0.5 * value * sign(weight[k][j])
              dw[k * outputs + j] += 2 * value * sign(signs[i][j])
            }
          }
        }
        let rowMax = (0..<rows).map { i in (0..<columns).map { abs(gradient[i * columns + $0]) }.max()! }
        let columnMax = (0..<columns).map { k in (0..<rows).map { abs(gradient[$0 * columns + k]) }.max()! }
        return (
          dx, dw, rowMax.map { 0.5 * Double($0) / 127 * Double(columns) },
          columnMax.map { 2 * Double($0) / 127 * Double(rows) }
        )
      }
    }

    /// One rounding moves each element by less than one step of its scale.
    @Test(arguments: InstructionSet.available) func withinOneStep(set: String) throws {
      try InstructionSet.select(set)
      for shape in Self.shapes {
        let operands = Operands(shape)
        let (dx, dw, dxBound, dwBound) = operands.exact()
        let found = operands.run(sample: 5)
        for i in dx.indices {
          let (row, column) = (i / operands.outputs, i % operands.outputs)
          let expected = operands.within[row][column] ? dx[i] : 0
          #expect(abs(Double(found.dx[i]) - expected) <= dxBound[row] * 1.001, "\(shape), dx \(i)")
        }
        for i in dw.indices {
          let bound = dwBound[i / operands.outputs] * 1.001
          #expect(abs(Double(found.weight[i]) - dw[i]) <= bound, "\(shape), weight \(i)")
        }
      }
    }

    /// Integers up to ±127, which rounding leaves as they are, against bits all set, all clear, one-hot and random: sums of the
    /// greatest magnitude, around the 512 products that fit 16 bits, are exact.
    @Test(arguments: InstructionSet.available) func greatestSums(set: String) throws {
      try InstructionSet.select(set)
      for shape in [
        (5, 508, 49), (8, 511, 5), (9, 512, 50), (5, 513, 48), (6, 516, 7), (11, 1029, 33), (512, 9, 49),
        (517, 8, 50), (1025, 5, 3),
      ] {
        var operands = Operands(shape)
        var draws = Draws(UInt32(11_000 + shape.0 + shape.1))
        let (rows, columns, outputs) = shape
        for row in 0..<rows {
          for column in 0..<columns {
            // The first row and the first column hold the maximum of every column and row.
            let value =
              switch row % 4 {
              case _ where row == 0 || column == 0: 127
              case 0: 127
              case 1: -127
              case 2: column % 2 == 0 ? 127 : -127
              default: draws.integer(below: 255) - 127
              }
            operands.gradient[row * columns + column] = Float(value)
          }
        }
        func pattern(_ random: [[Bool]]) -> [[Bool]] {
          random.indices.map { row in
            (0..<outputs).map { output in
              switch output % 4 {
              case 0: true
              case 1: false
              case 2: row == output % random.count
              default: random[row][output]
              }
            }
          }
        }
        operands.weight = pattern(operands.weight)
        operands.signs = pattern(operands.signs)
        operands.within = operands.within.map { $0.map { _ in true } }
        let (dx, dw, _, _) = operands.exact()
        let found = operands.run(sample: 5)
        #expect(found.dx.map(Double.init) == dx, "\(shape), dx")
        #expect(found.weight.map(Double.init) == dw, "\(shape), weight")
      }
    }

    /// The mean over many draws is the exact product: rounding has no bias.
    @Test func meanOfManyDraws() {
      let operands = Operands((9, 37, 49))
      let (_, dw, _, bound) = operands.exact()
      let draws = 400
      var mean = [Double](repeating: 0, count: dw.count)
      for sample in 0..<draws {
        for (i, value) in operands.run(sample: UInt64(sample)).weight.enumerated() {
          mean[i] += Double(value) / Double(draws)
        }
      }
      // An element's rounding error has a standard deviation of at most half a step; six deviations of the mean, and the
      // half of 1/256 of a step by which 8 random bits are coarse.
      for i in dw.indices {
        let step = bound[i / operands.outputs] / Double(operands.rows)
        let deviation = step * 0.5 * (Double(operands.rows) / Double(draws)).squareRoot()
        #expect(abs(mean[i] - dw[i]) <= 6 * deviation + Double(operands.rows) * step / 512, "weight \(i)")
      }
    }

    /// Rounded to bfloat16, to nearest: what is left is the error of sums in float32.
    @Test(arguments: InstructionSet.available) func bfloat16EqualsPlainLoops(set: String) throws {
      try InstructionSet.select(set)
      for shape in Self.shapes {
        var operands = Operands(shape)
        let found = operands.run(sample: nil)
        for k in 0..<operands.columns {
          let column = (0..<operands.rows).map { Double(operands.gradient[$0 * operands.columns + k]) }
          let bound = 1e-6 * column.reduce(0) { $0 + abs($1) }
          #expect(abs(Double(found.bias[k]) - column.reduce(0, +)) <= bound, "\(shape), bias \(k)")
        }
        operands.gradient = operands.gradient.map(roundedToBfloat16)
        let (dx, dw, dxBound, dwBound) = operands.exact()
        // The bounds are those of a step of 1/127.
        let precision = 127 * 1e-6
        var (shift, step, stepBound) = ([Double](repeating: 0, count: operands.outputs), 0.0, 0.0)
        for i in dx.indices {
          let (row, column) = (i / operands.outputs, i % operands.outputs)
          let passed = operands.within[row][column] ? dx[i] : 0
          #expect(abs(Double(found.dx[i]) - passed) <= dxBound[row] * precision, "\(shape), dx \(i)")
          shift[column] += Double(found.dx[i])
          step += operands.signs[row][column] ? dx[i] : -dx[i]
          stepBound += dxBound[row] * precision
        }
        #expect(abs(found.step - step) <= stepBound, "\(shape), step")
        for j in shift.indices {
          #expect(abs(Double(found.shift[j]) - shift[j]) <= stepBound, "\(shape), shift \(j)")
        }
        for i in dw.indices {
          let bound = dwBound[i / operands.outputs] * precision
          #expect(abs(Double(found.weight[i]) - dw[i]) <= bound, "\(shape), weight \(i)")
        }
      }
    }

    /// A draw of rounding to 8 bits, and rounding to bfloat16.
    @Test(severalInstructionSets, arguments: [9, nil] as [UInt64?])
    func sameBitsOnEveryInstructionSet(sample: UInt64?) throws {
      for shape in Self.shapes {
        let operands = Operands(shape)
        var first: Outcome?
        for set in InstructionSet.available {
          try InstructionSet.select(set)
          let found = operands.run(sample: sample)
          if let first {
            #expect(
              found.dx == first.dx && found.weight == first.weight && found.shift == first.shift
                && found.bias == first.bias && found.step == first.step, "\(shape), \(set)")
          } else {
            first = found
          }
        }
      }
    }
  }
}
