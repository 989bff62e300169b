import DenseProducts
import Kernels
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

    @Test func adviceWhereTheLibraryIsOlderThanTheProcessor() {
      #expect(adviceOnOpenBLAS(core: "Prescott", instructionSet: "avx512")?.contains("=SkylakeX") == true)
      #expect(adviceOnOpenBLAS(core: "Core2", instructionSet: "avx512vnni")?.contains("=SkylakeX") == true)
      #expect(adviceOnOpenBLAS(core: "Nehalem", instructionSet: "avx2")?.contains("=Haswell") == true)
      for (core, instructionSet) in [
        ("SkylakeX", "avx512"), ("Zen", "avx2"), ("Prescott", "portable"), ("ARMV8", "neon"),
      ] {
        #expect(adviceOnOpenBLAS(core: core, instructionSet: instructionSet) == nil)
      }
    }
  }
}
