import Kernels
import Testing

extension KernelSuites {
  /// Products of operands rounded to bfloat16.
  @Suite struct Bfloat16Products {
    /// M, K, N: around panels of 8 and 48, pairs, blocks of 64 rows and of 768 columns and inputs.
    static let shapes = [
      (1, 1, 1), (3, 5, 47), (8, 16, 48), (9, 31, 49), (65, 33, 100), (2, 770, 3), (5, 1537, 50),
      (70, 4, 800),
    ]

    /// out = X Wᵀ + bias, with gaps in all of them that must stay as they are.
    private func product(
      _ x: [Float], _ w: [Float], _ bias: [Float]?, _ shape: (Int, Int, Int)
    ) -> [Float] {
      let (m, k, n) = shape
      var arena = Arena()
      let left = arena.strided(rows: m, columns: k, gap: 2, value: 30)
      let right = arena.strided(rows: n, columns: k, gap: 1, value: 40)
      for row in 0..<m { for column in 0..<k { left[row, column] = x[row * k + column] } }
      for row in 0..<n { for column in 0..<k { right[row, column] = w[row * k + column] } }
      let out = arena.strided(rows: m, columns: n, gap: 3, value: 7)
      let packed = Bfloat16Matrix(rows: n, columns: k, in: &arena)
      packed.pack(right)
      let shift = bias.map { arena.floats($0) }
      bfloat16Product(left, packed, bias: shift, into: out)
      for row in 0..<m { for gap in n..<n + 3 { #expect(out[row, gap] == 7, "\(shape)") } }
      return out.array
    }

    @Test(arguments: InstructionSet.available) func equalsPlainLoops(set: String) throws {
      try InstructionSet.select(set)
      for (index, shape) in Self.shapes.enumerated() {
        let (m, k, n) = shape
        var draws = Draws(UInt32(5_000 + m * k))
        let (x, w) = (draws.floats(m * k), draws.floats(n * k))
        let bias = index % 2 == 0 ? draws.floats(n) : nil
        let found = product(x, w, bias, shape)
        let (left, right) = (x.map(roundedToBfloat16), w.map(roundedToBfloat16))
        for i in 0..<m {
          for j in 0..<n {
            var expected = Double(bias?[j] ?? 0)
            for l in 0..<k { expected += Double(left[i * k + l]) * Double(right[j * k + l]) }
            let bound = 1e-6 * Double(k) + 1e-6
            #expect(abs(Double(found[i * n + j]) - expected) < bound, "\(shape), \(i), \(j)")
          }
        }
      }
    }

    /// dX = dY W and dW += dYᵀ X against plain loops, around panels and blocks of 256, 1,536 and 48; the same bits with every
    /// instruction set.
    @Test(arguments: [(1, 1, 1), (3, 257, 49), (9, 1537, 50), (13, 3100, 97), (192, 40, 48)])
    func backward(shape: (Int, Int, Int)) throws {
      let (m, v, h) = shape
      var draws = Draws(UInt32(9_000 + m * v))
      let (dy, x, w, dw) = (
        draws.floats(m * v), draws.floats(m * h), draws.floats(v * h), draws.floats(v * h)
      )
      var first: [UInt32]?
      for set in InstructionSet.available {
        try InstructionSet.select(set)
        var arena = Arena()
        func matrix(_ values: [Float], _ rows: Int, _ columns: Int) -> MatrixView {
          let view = arena.floats(values.count)
          for (i, value) in values.enumerated() { view[i] = value }
          return MatrixView(view, rows: rows, columns: columns)
        }
        let backward = Bfloat16Backward(rows: m, outputs: v, inputs: h, in: &arena)
        let (dx, sum) = (matrix(Array(repeating: 5, count: m * h), m, h), matrix(dw, v, h))
        // Twice: memory that was used before must not matter.
        for _ in 0..<2 {
          for (i, value) in dw.enumerated() { sum.dense[i] = value }
          backward.run(matrix(dy, m, v), x: matrix(x, m, h), w: matrix(w, v, h), dw: .view(sum), dx: dx)
        }
        let bits = (dx.dense.array + sum.dense.array).map(\.bitPattern)
        if let first {
          #expect(bits == first, "\(set), \(shape)")
          continue
        }
        first = bits
        let (a, b, c) = (dy.map(roundedToBfloat16), x.map(roundedToBfloat16), w.map(roundedToBfloat16))
        for i in 0..<m {
          for j in stride(from: 0, to: h, by: 7) {
            let expected = (0..<v).reduce(0.0) { $0 + Double(a[i * v + $1]) * Double(c[$1 * h + j]) }
            #expect(abs(Double(dx.base[i * h + j]) - expected) < 1e-6 * Double(v) + 1e-6, "\(shape)")
          }
        }
        for k in stride(from: 0, to: v, by: 5) {
          for j in 0..<h {
            let expected = (0..<m).reduce(Double(dw[k * h + j])) {
              $0 + Double(a[$1 * v + k]) * Double(b[$1 * h + j])
            }
            #expect(abs(Double(sum.base[k * h + j]) - expected) < 1e-6 * Double(m) + 2e-6, "\(shape)")
          }
        }
      }
    }

    /// A product of one number by one: rounding to nearest, ties to even, and what is not a number.
    @Test(arguments: InstructionSet.available) func rounding(set: String) throws {
      try InstructionSet.select(set)
      let values: [UInt32] = [
        0x3F80_0000, 0x3F80_7FFF, 0x3F80_8000, 0x3F80_8001, 0x3F81_8000, 0xBF81_7FFF, 0x4049_0FDB,
        0x7F7F_8000,
        0x7F7F_7FFF, 0x7F80_0000, 0xFF80_0000, 0x0000_0000, 0x8000_0000, 0x0080_0000,
      ]
      for bits in values {
        let value = Float(bitPattern: bits)
        #expect(product([value], [1], nil, (1, 1, 1)) == [roundedToBfloat16(value)], "\(value)")
        #expect(product([1], [value], nil, (1, 1, 1)) == [roundedToBfloat16(value)], "\(value)")
      }
      for bits: UInt32 in [0x7FC0_0000, 0x7F80_0001, 0x7FFF_FFFF, 0xFF80_0001, 0xFFFF_FFFF] {
        #expect(product([Float(bitPattern: bits)], [1], nil, (1, 1, 1))[0].isNaN, "\(bits)")
      }
      #expect(product([Float(bitPattern: 0x007F_FFFF)], [1], nil, (1, 1, 1)) == [0])
    }

    @Test(severalInstructionSets) func sameBitsOnEveryInstructionSet() throws {
      for shape in Self.shapes {
        let (m, k, n) = shape
        var draws = Draws(UInt32(6_000 + m * k))
        let (x, w, bias) = (draws.mixed(m * k), draws.mixed(n * k), draws.floats(n))
        var first: [UInt32]?
        for set in InstructionSet.available {
          try InstructionSet.select(set)
          let found = bitPatterns(product(x, w, bias, shape))
          if let first { #expect(found == first, "\(shape), \(set)") } else { first = found }
        }
      }
    }
  }
}

/// To nearest, ties to even, for numbers that are not below the smallest normal one.
func roundedToBfloat16(_ x: Float) -> Float {
  guard x.isFinite else { return x }
  let bits = x.bitPattern
  return Float(bitPattern: (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF_0000)
}
