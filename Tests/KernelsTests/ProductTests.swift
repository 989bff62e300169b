import Kernels
import Testing

extension KernelSuites {
  /// Products on packed bits against plain loops: the sums are integers, scale and bias one fused multiply-add, so all must be
  /// equal.
  @Suite struct Products {
    static let columnCounts = [1, 7, 8, 63, 64, 65, 127, 130, 200, 768]
    /// Rows of the left operand: below, at and above every tile.
    static let leftRows = Array(1...20)
    /// Rows of the right operand: up to beyond two tiles of four groups of eight.
    static let rightRows = Array(1...20) + [24, 25, 31, 32, 33, 40, 57, 64, 65, 70]

    /// table[i][j] = Σ over columns of the products of what the bits stand for.
    private func dots(
      _ a: [[Bool]], _ b: [[Bool]], _ valueOfA: (Bool) -> Int, _ valueOfB: (Bool) -> Int
    ) -> [[Int]] {
      let left = a.map { $0.map(valueOfA) }
      let right = b.map { $0.map(valueOfB) }
      return left.map { x in
        right.map { y in
          var sum = 0
          for k in x.indices { sum += x[k] * y[k] }
          return sum
        }
      }
    }

    private func sign(_ bit: Bool) -> Int { bit ? 1 : -1 }

    /// Whether `out` holds `expected` and its gaps still hold the sentinel.
    private func holds(_ out: MatrixView, sentinel: Float, _ expected: (Int, Int) -> Float) -> Bool {
      for row in 0..<out.rows {
        for column in 0..<out.stride {
          let wanted = column < out.columns ? expected(row, column) : sentinel
          if out[row, column] != wanted { return false }
        }
      }
      return true
    }

    @Test(arguments: InstructionSet.available) func xnorOfAllSizes(set: String) throws {
      try InstructionSet.select(set)
      for columns in Self.columnCounts {
        var draws = Draws(UInt32(columns))
        var arena = Arena()
        let (aBits, bBits) = (draws.bits(20, columns), draws.bits(70, columns))
        let table = dots(aBits, bBits, sign, sign)
        let a = arena.bits(aBits)
        let b = arena.bits(bBits)
        let bias = arena.floats(draws.floats(70))
        let scale: Float = 0.37
        for n in Self.rightRows {
          let right = arena.interleaved(b[rows: 0..<n])
          for m in Self.leftRows {
            let gap = (m + n) % 4
            let out = arena.strided(rows: m, columns: n, gap: gap, value: 99)
            xnorProduct(a[rows: 0..<m], right, scale: scale, bias: bias[0..<n], into: out)
            let withBias = holds(out, sentinel: 99) { bias[$1].addingProduct(scale, Float(table[$0][$1])) }
            xnorProduct(a[rows: 0..<m], right, scale: scale, bias: nil, into: out)
            let without = holds(out, sentinel: 99) { scale * Float(table[$0][$1]) }
            xnorProductSerial(a[rows: 0..<m], right, scale: -1, into: out)
            let serial = holds(out, sentinel: 99) { -Float(table[$0][$1]) }
            #expect(withBias && without && serial, "\(m)×\(columns) by \(n)×\(columns), gap \(gap)")
          }
        }
      }
    }

    /// More rows than one panel of the parallel loop.
    @Test(arguments: InstructionSet.available) func xnorOfManyRows(set: String) throws {
      try InstructionSet.select(set)
      var draws = Draws(1_000)
      var arena = Arena()
      let (aBits, bBits) = (draws.bits(203, 130), draws.bits(37, 130))
      let table = dots(aBits, bBits, sign, sign)
      let out = arena.strided(rows: 203, columns: 37, gap: 2, value: 5)
      xnorProduct(arena.bits(aBits), arena.interleaved(arena.bits(bBits)), scale: 2, bias: nil, into: out)
      #expect(holds(out, sentinel: 5) { 2 * Float(table[$0][$1]) })
    }

    @Test(arguments: InstructionSet.available) func andOfAllSizes(set: String) throws {
      try InstructionSet.select(set)
      for columns in Self.columnCounts {
        var draws = Draws(UInt32(2_000 + columns))
        var arena = Arena()
        let (aBits, bBits) = (draws.bits(20, columns), draws.bits(70, columns))
        let table = dots(aBits, bBits, { $0 ? 1 : 0 }, sign)
        let a = arena.bits(aBits)
        let b = arena.bits(bBits)
        let bias = arena.floats(draws.floats(20))
        let scale: Float = 0.81
        for n in Self.rightRows {
          let right = arena.interleaved(b[rows: 0..<n])
          for m in Self.leftRows {
            let gap = (m + n) % 4
            let out = arena.strided(rows: m, columns: n, gap: gap, value: 99)
            andProductSerial(a[rows: 0..<m], right, scale: scale, rowBias: bias[0..<m], into: out)
            let withBias = holds(out, sentinel: 99) { bias[$0].addingProduct(scale, Float(table[$0][$1])) }
            andProductSerial(a[rows: 0..<m], right, scale: scale, rowBias: nil, into: out)
            let without = holds(out, sentinel: 99) { scale * Float(table[$0][$1]) }
            #expect(withBias && without, "\(m)×\(columns) by \(n)×\(columns), gap \(gap)")
          }
        }
      }
    }

    /// One set bit a row, at each place in turn: no place is dropped, doubled or confused with another.
    @Test(arguments: InstructionSet.available) func oneHot(set: String) throws {
      try InstructionSet.select(set)
      let columns = 130
      var draws = Draws(3_000)
      var arena = Arena()
      let hot = (0..<columns).map { row in (0..<columns).map { $0 == row } }
      let signs = draws.bits(1, columns)
      let a = arena.bits(hot)
      let xnor = arena.strided(rows: columns, columns: columns, gap: 0)
      xnorProduct(a, arena.interleaved(a), scale: 1, bias: nil, into: xnor)
      #expect(holds(xnor, sentinel: 0) { Float($0 == $1 ? columns : columns - 4) })
      let and = arena.strided(rows: columns, columns: 1, gap: 0)
      andProductSerial(a, arena.interleaved(arena.bits(signs)), scale: 1, rowBias: nil, into: and)
      #expect(holds(and, sentinel: 0) { row, _ in signs[0][row] ? 1 : -1 })
    }

    /// A part of an interleaved matrix that starts at a group.
    @Test(arguments: InstructionSet.available) func partOfTheRightOperand(set: String) throws {
      try InstructionSet.select(set)
      var draws = Draws(4_000)
      var arena = Arena()
      let (aBits, bBits) = (draws.bits(5, 65), draws.bits(30, 65))
      let table = dots(aBits, bBits, sign, sign)
      let right = arena.interleaved(arena.bits(bBits))
      let out = arena.strided(rows: 5, columns: 11, gap: 1, value: 7)
      xnorProduct(arena.bits(aBits), right[rows: 16..<27], scale: 1, bias: nil, into: out)
      #expect(holds(out, sentinel: 7) { Float(table[$0][$1 + 16]) })
    }
  }
}
