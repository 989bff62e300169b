import Kernels
import Testing

extension KernelSuites {
  /// The straight-through backward of an elastic sign, and the small row operations of attention.
  @Suite struct SignBackward {
    struct Case {
      let rows: Int
      let columns: Int
      let add: Bool
      let range: Range<Int>
    }

    static let cases = [
      Case(rows: 1, columns: 1, add: false, range: 0..<1),
      Case(rows: 5, columns: 17, add: true, range: 0..<17),
      Case(rows: 64, columns: 64, add: false, range: 0..<64),
      Case(rows: 65, columns: 130, add: true, range: 64..<128),
      Case(rows: 65, columns: 130, add: false, range: 128..<130),
      Case(rows: 130, columns: 200, add: true, range: 64..<200),
    ]

    @Test(arguments: InstructionSet.available) func againstDouble(set: String) throws {
      try InstructionSet.select(set)
      for (index, test) in Self.cases.enumerated() {
        var draws = Draws(UInt32(index))
        var arena = Arena()
        let (rows, columns) = (test.rows, test.columns)
        let (signBits, withinBits) = (draws.bits(rows, columns), draws.bits(rows, columns))
        let g = arena.strided(rows: rows, columns: columns, gap: 1)
        let dx = arena.strided(rows: rows, columns: columns, gap: 2)
        for row in 0..<rows {
          for column in 0..<columns { (g[row, column], dx[row, column]) = (draws.float(), draws.float()) }
        }
        let shiftGradient = arena.floats(draws.floats(columns))
        let (before, shiftBefore) = (dx.array, shiftGradient.array)
        let sum = signBackwardSerial(
          g, signs: arena.bits(signBits), within: arena.bits(withinBits), columns: test.range, add: test.add,
          dx: dx, shiftGradient: shiftGradient)

        var expectedSum = 0.0
        var wrong = 0
        var shiftSums = shiftBefore.map(Double.init)
        for row in 0..<rows {
          for column in 0..<columns {
            let old = before[row * columns + column]
            guard test.range.contains(column) else {
              if dx[row, column] != old { wrong += 1 }
              continue
            }
            expectedSum += Double(signBits[row][column] ? g[row, column] : -g[row, column])
            let passed = withinBits[row][column] ? g[row, column] : 0
            shiftSums[column] += Double(passed)
            if dx[row, column] != (test.add ? passed + old : passed) { wrong += 1 }
          }
        }
        #expect(wrong == 0, "\(test)")
        #expect(abs(sum - expectedSum) < 1e-5 * Double(rows), "\(test): \(sum), expected \(expectedSum)")
        for column in 0..<columns {
          let error = abs(Double(shiftGradient[column]) - shiftSums[column])
          #expect(error < 1e-6 * Double(rows) + 1e-6, "\(test), column \(column)")
        }
      }
    }

    /// All columns at once, in place, as the layers use it.
    @Test(arguments: InstructionSet.available) func inPlaceOverAllColumns(set: String) throws {
      try InstructionSet.select(set)
      var draws = Draws(50)
      var arena = Arena()
      let (rows, columns) = (70, 150)
      let (signBits, withinBits) = (draws.bits(rows, columns), draws.bits(rows, columns))
      let values = draws.floats(rows * columns)
      let g = arena.matrix(values, rows: rows, columns: columns)
      let sum = signBackward(
        g, signs: arena.bits(signBits), within: arena.bits(withinBits), add: false, dx: g, shiftGradient: nil)
      var expected = 0.0
      for i in values.indices {
        let (row, column) = (i / columns, i % columns)
        expected += Double(signBits[row][column] ? values[i] : -values[i])
        #expect(g[row, column] == (withinBits[row][column] ? values[i] : 0))
      }
      #expect(abs(sum - expected) < 1e-4)
    }

    @Test(arguments: InstructionSet.available) func rowOperations(set: String) throws {
      try InstructionSet.select(set)
      for columns in [1, 16, 63, 64, 65, 150] {
        var draws = Draws(UInt32(100 + columns))
        var arena = Arena()
        let rows = 6
        let bits = draws.bits(rows, columns)
        let values = draws.floats(columns)
        let out = arena.floats(draws.floats(rows))
        arena.bits(bits).sumSetElements(of: arena.floats(values), factor: 0.5, into: out)
        let x = arena.strided(rows: rows, columns: columns, gap: 1, value: 3)
        for row in 0..<rows { for column in 0..<columns { x[row, column] = draws.float() } }
        let (before, added) = (x.array, draws.floats(rows))
        let sums = arena.floats([Float](repeating: 1, count: rows))
        x.addRowSums(to: sums)
        x.addToColumns(arena.floats(added))
        for row in 0..<rows {
          var (set, plain) = (0.0, 1.0)
          for column in 0..<columns {
            if bits[row][column] { set += Double(values[column]) }
            plain += Double(before[row * columns + column])
            #expect(x[row, column] == before[row * columns + column] + added[row])
          }
          #expect(x[row, columns] == 3)
          #expect(abs(Double(out[row]) - 0.5 * set) < 1e-5)
          #expect(abs(Double(sums[row]) - plain) < 1e-5)
        }
      }
    }
  }
}
