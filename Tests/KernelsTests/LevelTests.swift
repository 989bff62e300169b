import Kernels
import Testing

extension KernelSuites {
  /// Operands of n bits: their integers, products, and backward, with every instruction set.
  @Suite(.serialized) struct Levels {
    static let sets = [1, 2, 4, 8].flatMap { bits in
      [true, false].map { LevelSet(bits: bits, isSigned: $0) }
    }.filter { !$0.isSign }
    static let shapes = [(1, 1, 1), (2, 63, 8), (7, 64, 9), (25, 65, 17), (97, 130, 40), (100, 200, 33)]

    /// x of some rows and columns, which reaches beyond both ends, and what plain code makes of it.
    struct Sample {
      let x: [Float]
      let shift: [Float]
      let step: Float = 0.37
      let integers: [Int64]
      let positions: [Float]

      init(_ rows: Int, _ columns: Int, _ set: LevelSet) {
        var draws = Draws(UInt32(rows * 1000 + columns + set.bits))
        let reach = 0.37 * Float(set.highest) * 1.3
        let own = (0..<rows * columns).map { _ in draws.float(-reach...reach) }
        let shift = draws.floats(columns)
        let positions = own.indices.map { (own[$0] + shift[$0 % columns]) / 0.37 }
        x = own
        self.shift = shift
        self.positions = positions
        integers = positions.map {
          Int64(min(max($0.rounded(.toNearestOrEven), Float(set.lowest)), Float(set.highest)))
        }
      }
    }

    @Test(arguments: sets) func theSet(set: LevelSet) {
      #expect(set.highest - set.lowest == 1 << set.bits - 1)
      #expect((set.lowest == 0) == !set.isSigned)
      #expect(
        LevelSet(bits: 1, isSigned: true).lowest == -1 && LevelSet(bits: 1, isSigned: true).highest == 1)
      let byte = LevelSet(bits: 8, isSigned: false)
      #expect(byte.mostTerms(with: LevelSet(bits: 8, isSigned: true)) == 514)
    }

    /// Planes give the 64-bit integer product, times the scale, to the last bit.
    @Test(arguments: InstructionSet.available, sets) func products(name: String, set: LevelSet) throws {
      try InstructionSet.select(name)
      for (rows, inputs, outputs) in Self.shapes {
        let sample = Sample(rows, inputs, set)
        var draws = Draws(UInt32(inputs))
        let signs = (0..<outputs).map { _ in (0..<inputs).map { _ in draws.integer(below: 2) == 1 } }
        let bias = draws.floats(outputs)
        var arena = Arena()
        let operand = LevelOperand(
          arena.matrix(sample.x, rows: rows, columns: inputs), shift: arena.floats(sample.shift),
          step: sample.step, set)
        let weight = arena.interleavedBits(rows: outputs, columns: inputs)
        weight.interleave(arena.bits(signs))
        let out = MatrixView(arena.floats(rows * outputs), rows: rows, columns: outputs)
        let level = LevelProducts(inputs: inputs, bits: 8, in: &arena)
        level.product(operand, weight, scale: 0.03, bias: arena.floats(bias), into: out)
        var wrong = 0
        for i in 0..<rows {
          for j in 0..<outputs {
            var sum: Int64 = 0
            for k in 0..<inputs { sum += sample.integers[i * inputs + k] * (signs[j][k] ? 1 : -1) }
            let expected = bias[j].addingProduct(0.03, Float(sum))
            if out.base[i * outputs + j] != expected { wrong += 1 }
          }
        }
        #expect(wrong == 0, "\(wrong) of \(rows)×\(inputs)×\(outputs)")
        withExtendedLifetime(arena) {}
      }
    }

    /// A product over as many inputs as a set allows, all at its ends.
    @Test(arguments: InstructionSet.available) func largestSums(name: String) throws {
      try InstructionSet.select(name)
      for set in [LevelSet(bits: 8, isSigned: true), LevelSet(bits: 8, isSigned: false)] {
        let inputs = set.mostInputs
        #expect(inputs > 65_536)
        for end in [set.lowest, set.highest, set.highest - 1] {
          var arena = Arena()
          let x = MatrixView(arena.floats(inputs), rows: 1, columns: inputs)
          x.dense.fill(Float(end))
          let signs = arena.bits(rows: 2, columns: inputs)
          // All +1; and all −1 but the first.
          for word in 0..<signs.words {
            signs.base[word] = word + 1 < signs.words ? .max : (1 << (inputs % 64)) - 1
          }
          signs.base[signs.words] = 1
          let weight = arena.interleavedBits(rows: 2, columns: inputs)
          weight.interleave(signs)
          let out = MatrixView(arena.floats(2), rows: 1, columns: 2)
          LevelProducts(inputs: inputs, bits: 8, in: &arena).product(
            LevelOperand(x, shift: nil, step: 1, set), weight, scale: 1, bias: nil, into: out)
          #expect(out.base[0] == Float(end * inputs) && out.base[1] == Float(end * (2 - inputs)))
          withExtendedLifetime(arena) {}
        }
      }
    }

    /// The rule of backward, element by element, and its sums.
    @Test(arguments: InstructionSet.available, sets) func backward(name: String, set: LevelSet) throws {
      try InstructionSet.select(name)
      for (rows, columns, _) in Self.shapes {
        let sample = Sample(rows, columns, set)
        var draws = Draws(UInt32(columns + 1))
        let (g, start) = (draws.floats(rows * columns), draws.floats(rows * columns))
        for add in [false, true] {
          var arena = Arena()
          let shift = arena.floats(sample.shift)
          let operand = LevelOperand(
            arena.matrix(sample.x, rows: rows, columns: columns), shift: shift, step: sample.step, set)
          let dx = arena.matrix(start, rows: rows, columns: columns)
          let shiftGradient = arena.floats(columns)
          let sum = operand.backward(
            arena.matrix(g, rows: rows, columns: columns), add: add, dx: dx, shiftGradient: shiftGradient)
          var (expected, columnSums) = (0.0, [Double](repeating: 0, count: columns))
          for i in g.indices {
            let v = sample.positions[i]
            let (below, above) = (v < Float(set.lowest), v > Float(set.highest))
            let slope = below ? Float(set.lowest) : above ? Float(set.highest) : Float(sample.integers[i]) - v
            expected += Double(g[i]) * Double(slope)
            let passed = below || above ? 0 : g[i]
            columnSums[i % columns] += Double(passed)
            #expect(dx.dense[i] == (add ? passed + start[i] : passed))
          }
          let bound = 1e-5 * Double(rows * columns) * Double(set.largest)
          #expect(abs(sum - expected) <= bound, "\(sum), expected \(expected)")
          for (found, expected) in zip(shiftGradient.array, columnSums) {
            #expect(abs(Double(found) - expected) < 1e-4)
          }
          withExtendedLifetime(arena) {}
        }
      }
    }

    /// What is no number becomes the lowest integer, and its gradient is seen.
    @Test(arguments: InstructionSet.available) func notANumber(name: String) throws {
      try InstructionSet.select(name)
      var arena = Arena()
      let x = arena.matrix([.nan, .infinity, -.infinity, 0.4], rows: 1, columns: 4)
      let operand = LevelOperand(x, shift: nil, step: 1, LevelSet(bits: 4, isSigned: true))
      let out = MatrixView(arena.floats(4), rows: 1, columns: 4)
      operand.write(factor: 1, into: out)
      #expect(out.dense.array == [-8, 7, -8, 0])
      let g = arena.matrix([1, 1, 1, 1], rows: 1, columns: 4)
      #expect(operand.backward(g, add: false, dx: out, shiftGradient: nil).isNaN)
    }

    /// Both backward products of a rounded gradient: dX as for signs, dW of the integers, the same with every instruction set.
    @Test(arguments: sets) func roundedGradients(set: LevelSet) throws {
      let (rows, columns, outputs) = (37, 29, 70)
      let sample = Sample(rows, outputs, set)
      var draws = Draws(9)
      let gradient = draws.floats(rows * columns)
      let weight = (0..<columns).map { _ in (0..<outputs).map { _ in draws.integer(below: 2) == 1 } }
      var first: [Bool: [[UInt32]]] = [:]
      for name in InstructionSet.available {
        try InstructionSet.select(name)
        for isByte in [true, false] {
          var arena = Arena()
          let g = arena.matrix(gradient, rows: rows, columns: columns)
          let operand = LevelOperand(
            arena.matrix(sample.x, rows: rows, columns: outputs), shift: arena.floats(sample.shift),
            step: sample.step, set)
          let (bias, shift) = (arena.floats(columns), arena.floats(outputs))
          let dx = MatrixView(arena.floats(rows * outputs), rows: rows, columns: outputs)
          let dWeight = MatrixView(arena.floats(columns * outputs), rows: columns, columns: outputs)
          let bits = arena.bits(weight)
          let sum: Double
          if isByte {
            let rounded = RoundedGradient(rows: rows, columns: columns, outputs: outputs, in: &arena)
            let draw = BackwardRounding(seed: 7).draw(place: 2, epoch: 1, sample: 5)
            rounded.round(g, draw: draw, addingColumnSumsTo: bias)
            sum = rounded.products(
              g, weight: bits, weightScale: 0.5, input: .levels(operand), weightGradient: .view(dWeight),
              add: false, dx: dx, shiftGradient: shift)
          } else {
            let rounded = Bfloat16Gradient(
              rows: rows, columns: columns, outputs: outputs, hasLevels: true, in: &arena)
            rounded.round(g, addingColumnSumsTo: bias)
            sum = rounded.products(
              g, weight: bits, weightScale: 0.5, input: .levels(operand), weightGradient: .view(dWeight),
              add: false, dx: dx, shiftGradient: shift)
          }
          let found =
            [dx.dense, dWeight.dense, shift].map { $0.array.map(\.bitPattern) } + [[Float(sum).bitPattern]]
          if let expected = first[isByte] {
            #expect(found == expected, "\(name) differs, \(isByte ? "int8" : "bfloat16")")
          }
          first[isByte] = found

          for k in 0..<columns {
            for j in 0..<outputs {
              var exact = 0.0
              for i in 0..<rows {
                exact += Double(gradient[i * columns + k]) * Double(sample.integers[i * outputs + j])
              }
              let bound = Double(set.largest * rows) * (isByte ? 1.0 / 127 : 1.0 / 256)
              let found = Double(dWeight.base[k * outputs + j]) / Double(sample.step)
              #expect(abs(found - exact) <= bound * 1.001, "weight \(k), \(j): \(found), expected \(exact)")
            }
          }
          withExtendedLifetime(arena) {}
        }
      }
    }
  }
}
