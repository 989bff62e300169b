import Kernels
import Testing

extension KernelSuites {
  @Suite struct DropoutBits {
    /// bit_kernels.h: element (i, j) uses half-word j % 8, low half first, of block
    /// (part·blocks + i·ceil(columns / 8) + j / 8, place | epoch << 16, sample, sample >> 32).
    private func expected(
      _ rows: Int, _ columns: Int, seed: UInt64, threshold: UInt32, part: Int, place: UInt32, epoch: UInt32,
      sample: UInt64
    ) -> [[Bool]] {
      let random = CounterRandom(seed: seed, purpose: .dropout)
      let perRow = (columns + 7) / 8
      return (0..<rows).map { i in
        (0..<columns).map { j in
          let block = UInt32(part * rows * perRow + i * perRow + j / 8)
          let words = random.block(
            SIMD4(block, place | epoch << 16, UInt32(sample & 0xFFFF_FFFF), UInt32(sample >> 32)))
          let word = words[j % 8 / 2]
          return (j % 2 == 0 ? word & 0xFFFF : word >> 16) >= threshold
        }
      }
    }

    @Test(arguments: InstructionSet.available) func definition(set: String) throws {
      try InstructionSet.select(set)
      for columns in [1, 7, 8, 9, 63, 64, 65, 127, 128, 130, 200] {
        for (rows, part) in [(1, 0), (3, 2), (9, 11)] {
          var arena = Arena()
          let keep = arena.bits(rows: rows, columns: columns)
          for i in 0..<rows * keep.words { keep.base[i] = .max }
          let sample: UInt64 = 0x1234_5678_9ABC_DEF0
          Dropout(rate: 0.25, seed: 99).draw(place: 17, part: part, epoch: 513, sample: sample, into: keep)
          let bits = expected(
            rows, columns, seed: 99, threshold: 16_384, part: part, place: 17, epoch: 513, sample: sample)
          #expect(keep.array == arena.bits(bits).array, "\(rows)×\(columns), part \(part)")
        }
      }
    }

    @Test(arguments: [Float(0.1), 0.5, 0.9]) func share(rate: Float) {
      var arena = Arena()
      let keep = arena.bits(rows: 400, columns: 500)
      let dropout = Dropout(rate: rate, seed: 1)
      dropout.draw(place: 0, part: 0, epoch: 0, sample: 0, into: keep)
      let kept = keep.array.reduce(0) { $0 + $1.nonzeroBitCount }
      let (n, p) = (200_000.0, Double(1 - rate))
      #expect(abs(Double(kept) - n * p) < 5 * (n * p * (1 - p)).squareRoot())
      #expect(abs(dropout.factor - 1 / (1 - rate)) < 1e-4 * dropout.factor)
      let x = arena.floats([Float](repeating: 2, count: 200_000))
      dropout.apply(keep, to: x)
      for i in 0..<x.count { #expect(x[i] == (keep[i / 500, i % 500] ? 2 * dropout.factor : 0)) }
    }

    /// However close to 0 or 1 the rate is, the factor is finite.
    @Test func extremeRates() {
      #expect(Dropout(rate: .leastNonzeroMagnitude, seed: 1).factor == 1)
      #expect(Dropout(rate: Float(1).nextDown, seed: 1).factor == 65_536)
    }

    /// Every argument changes the bits; none shares them with another.
    @Test func placesAreIndependent() {
      var arena = Arena()
      var seen: Set<[UInt64]> = []
      var count = 0
      for seed in [UInt64(0), 1] {
        for (place, part, epoch, sample) in [
          (0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0, 0, 0, 1 << 32),
          (0, 0, 65_535, 0), (0, 0, 65_536, 0), (0, 0, 65_537, 0), (1, 0, 65_536, 0), (0, 0, 131_072, 0),
          (0, 0, 4_294_967_295, 0), (0, 0, 65_536, 1 << 32),
        ] {
          let keep = arena.bits(rows: 2, columns: 128)
          Dropout(rate: 0.5, seed: seed).draw(
            place: place, part: part, epoch: UInt32(epoch), sample: UInt64(sample), into: keep)
          seen.insert(keep.array)
          count += 1
        }
      }
      #expect(seen.count == count)
    }
  }
}
