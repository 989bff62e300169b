import Kernels
import Testing

extension KernelSuites {
  @Suite struct Packing {
    static let columnCounts = [1, 7, 15, 16, 17, 31, 63, 64, 65, 127, 130, 200]

    /// The words that `bit` fills, unused bits zero.
    private func words(_ rows: Int, _ columns: Int, _ bit: (Int, Int) -> Bool) -> [UInt64] {
      let width = (columns + 63) / 64
      var result = [UInt64](repeating: 0, count: rows * width)
      for row in 0..<rows {
        for column in 0..<columns where bit(row, column) {
          result[row * width + column / 64] |= 1 << UInt64(column % 64)
        }
      }
      return result
    }

    @Test(arguments: InstructionSet.available) func packAndUnpack(set: String) throws {
      try InstructionSet.select(set)
      for columns in Self.columnCounts {
        for rows in [1, 2, 5, 100] {
          var draws = Draws(UInt32(columns * 1_000 + rows))
          var arena = Arena()
          let x = arena.strided(rows: rows, columns: columns, gap: 3, value: -1)
          for row in 0..<rows { for column in 0..<columns { x[row, column] = draws.float() } }
          let shift = arena.floats(draws.floats(columns))
          let step: Float = 0.6
          let signs = arena.bits(rows: rows, columns: columns)
          let within = arena.bits(rows: rows, columns: columns)
          // What stood there before must not matter.
          for i in 0..<rows * signs.words { (signs.base[i], within.base[i]) = (.max, .max) }
          pack(x, shift: shift, step: step, signs: signs, within: within)
          #expect(signs.array == words(rows, columns) { x[$0, $1] + shift[$1] >= 0 }, "\(rows)×\(columns)")
          #expect(
            within.array == words(rows, columns) { abs(x[$0, $1] + shift[$1]) <= step }, "\(rows)×\(columns)")
          pack(x, shift: nil, step: step, signs: signs, within: nil)
          #expect(signs.array == words(rows, columns) { x[$0, $1] >= 0 }, "\(rows)×\(columns)")

          let out = arena.strided(rows: rows, columns: columns, gap: 2, value: 9)
          signs.unpack(high: 0.5, low: -0.25, into: out)
          for row in 0..<rows {
            for column in 0..<columns + 2 {
              let wanted: Float = column >= columns ? 9 : x[row, column] >= 0 ? 0.5 : -0.25
              #expect(out[row, column] == wanted)
            }
          }
        }
      }
    }

    /// sign(0) = sign(−0) = +1, and |x| = α is within.
    @Test(arguments: InstructionSet.available) func thresholds(set: String) throws {
      try InstructionSet.select(set)
      let step: Float = 0.3
      let x: [Float] = [
        0, -0.0, step, -step, step.nextUp, -step.nextUp, step.nextDown, -step.nextDown,
        .leastNonzeroMagnitude,
        -.leastNonzeroMagnitude,
      ]
      let positive = [true, true, true, false, true, false, true, false, true, false]
      let inside = [true, true, true, true, false, false, true, true, true, true]
      // At every place of a word, so in every lane.
      for offset in 0..<64 {
        var arena = Arena()
        let row = [Float](repeating: -5, count: offset) + x
        let (signs, within) = (
          arena.bits(rows: 1, columns: row.count), arena.bits(rows: 1, columns: row.count)
        )
        packSerial(
          arena.matrix(row, rows: 1, columns: row.count), shift: nil, step: step, signs: signs, within: within
        )
        #expect((0..<x.count).map { signs[0, offset + $0] } == positive)
        #expect((0..<x.count).map { within[0, offset + $0] } == inside)
      }
      // The shift is added before the sign: −0.5 + 0.5 is +0.
      var arena = Arena()
      let signs = arena.bits(rows: 1, columns: 1)
      packSerial(
        arena.matrix([-0.5], rows: 1, columns: 1), shift: arena.floats([0.5]), step: 1, signs: signs,
        within: nil)
      #expect(signs[0, 0])
    }

    @Test func transposeAndInterleave() {
      for (rows, columns) in [
        (1, 1), (1, 64), (64, 1), (3, 5), (64, 64), (63, 65), (65, 63), (9, 130), (130, 9), (200, 127),
        (128, 64),
      ] {
        var draws = Draws(UInt32(rows * 1_000 + columns))
        var arena = Arena()
        let bits = draws.bits(rows, columns)
        let source = arena.bits(bits)
        let transposed = arena.bits(rows: columns, columns: rows)
        for i in 0..<columns * transposed.words { transposed.base[i] = .max }
        source.transpose(into: transposed)
        #expect(transposed.array == words(columns, rows) { bits[$1][$0] }, "\(rows)×\(columns)")

        let interleaved = arena.interleavedBits(rows: rows, columns: columns)
        let padded = (rows + 7) / 8 * 8
        for i in 0..<padded * source.words { interleaved.base[i] = .max }
        interleaved.interleave(source)
        for row in 0..<padded {
          for word in 0..<source.words {
            let found = interleaved.base[(row / 8 * source.words + word) * 8 + row % 8]
            #expect(found == (row < rows ? source.base[row * source.words + word] : 0), "\(rows)×\(columns)")
          }
        }
      }
    }
  }
}
