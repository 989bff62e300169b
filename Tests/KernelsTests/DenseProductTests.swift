import Kernels
import LeastSquares
import Testing

extension KernelSuites {
  @Suite struct DenseProductTests {
    /// The last two have more rows or columns than one panel.
    static let sizes = [(1, 1, 1), (3, 5, 7), (16, 9, 33), (7, 64, 1), (300, 4, 5), (6, 520, 9)]

    @Test(arguments: sizes) func allTranspositions(m: Int, n: Int, k: Int) {
      useSingleThreadedBLAS()
      var draws = Draws(UInt32(m * n * k))
      for (isATransposed, isBTransposed) in [(false, false), (false, true), (true, false), (true, true)] {
        for isAccumulating in [false, true] {
          var arena = Arena()
          let a = arena.strided(
            rows: isATransposed ? k : m, columns: isATransposed ? m : k, gap: 2, value: 50)
          let b = arena.strided(
            rows: isBTransposed ? n : k, columns: isBTransposed ? k : n, gap: 1, value: 60)
          for matrix in [a, b] {
            for row in 0..<matrix.rows {
              for column in 0..<matrix.columns { matrix[row, column] = draws.float() }
            }
          }
          let (left, right): (Operand, Operand) = (
            isATransposed ? .transposed(a) : .plain(a), isBTransposed ? .transposed(b) : .plain(b)
          )
          let parallel = arena.strided(rows: m, columns: n, gap: 3, value: 7)
          let serial = arena.strided(rows: m, columns: n, gap: 3, value: 7)
          denseProduct(left, right, factor: 0.5, accumulate: isAccumulating, into: parallel)
          denseProductSerial(left, right, factor: 0.5, accumulate: isAccumulating, into: serial)
          for i in 0..<m {
            for j in 0..<n + 3 {
              guard j < n else {
                #expect(parallel[i, j] == 7 && serial[i, j] == 7)
                continue
              }
              var sum = 0.0
              for l in 0..<k {
                sum +=
                  Double(isATransposed ? a[l, i] : a[i, l]) * Double(isBTransposed ? b[j, l] : b[l, j])
              }
              let expected = 0.5 * sum + (isAccumulating ? 7 : 0)
              let bound = 1e-6 * Double(k) + 1e-6
              #expect(abs(Double(parallel[i, j]) - expected) < bound)
              #expect(abs(Double(serial[i, j]) - expected) < bound)
            }
          }
        }
      }
    }

    /// Every instruction set, in one order: sums are those of a loop that adds product after product, fused.
    @Test(arguments: [
      (1, 1, 1), (3, 5, 0), (8, 48, 128), (9, 49, 129), (17, 241, 130), (40, 64, 300), (5, 16, 257),
      (13, 33, 31),
    ])
    func sumsHaveOneOrder(m: Int, n: Int, k: Int) throws {
      let selected = InstructionSet.name
      defer { try! InstructionSet.select(selected) }
      func random(_ rows: Int, _ columns: Int, _ seed: UInt32) -> MatrixView {
        let buffer = MatrixView(
          FloatView(base: .allocate(capacity: rows * columns + 1), count: rows * columns), rows: rows,
          columns: columns)
        var stream = CounterRandom(seed: 5, purpose: .initialisation).stream(seed, UInt32(rows))
        for i in 0..<rows * columns { buffer.base[i] = Float(stream.unit() * 2 - 1) * Float(1 << (i % 9)) }
        return buffer
      }
      for (isATransposed, isBTransposed, adds) in [
        (false, false, false), (true, false, true), (false, true, true), (true, true, false),
      ] {
        let a = isATransposed ? random(k, m, 1) : random(m, k, 1)
        let b = isBTransposed ? random(n, k, 2) : random(k, n, 2)
        let before = random(m, n, 3)
        defer { for view in [a, b, before] { view.base.deallocate() } }
        var expected: [UInt32] = []
        for i in 0..<m {
          for j in 0..<n {
            var sum: Float = adds ? before.base[i * n + j] : 0
            for l in 0..<k {
              let x = isATransposed ? a.base[l * m + i] : a.base[i * k + l]
              let y = isBTransposed ? b.base[j * k + l] : b.base[l * n + j]
              sum.addProduct(x, 0.25 * y)
            }
            expected.append(sum.bitPattern)
          }
        }
        for set in InstructionSet.available {
          try InstructionSet.select(set)
          let out = random(m, n, 3)
          defer { out.base.deallocate() }
          denseProductSerial(
            isATransposed ? .transposed(a) : .plain(a), isBTransposed ? .transposed(b) : .plain(b),
            factor: 0.25,
            accumulate: adds, into: out)
          let found = (0..<m * n).map { out.base[$0].bitPattern }
          #expect(found == expected, "\(set), \(isATransposed) \(isBTransposed)")
        }
      }
    }
  }
}
