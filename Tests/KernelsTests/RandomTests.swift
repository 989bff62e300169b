import Kernels
import Testing

extension KernelSuites {
  @Suite struct Random {
    /// The seed whose generator for `purpose` has this key: the inverse of the seed's mixing, which is a bijection.
    private func seed(of key: (UInt32, UInt32), _ purpose: RandomPurpose) -> UInt64 {
      func inverse(_ odd: UInt64) -> UInt64 {
        var x = odd
        for _ in 0..<6 { x = x &* (2 &- odd &* x) }
        return x
      }
      var z = UInt64(key.0) | UInt64(key.1) << 32
      z ^= z >> 31 ^ z >> 62
      z = z &* inverse(0x94D0_49BB_1331_11EB)
      z ^= z >> 27 ^ z >> 54
      z = z &* inverse(0xBF58_476D_1CE4_E5B9)
      z ^= z >> 30 ^ z >> 60
      return z &- UInt64(purpose.rawValue) &* 0x9E37_79B9_7F4A_7C15
    }

    struct Vector: Sendable {
      let counter, result: SIMD4<UInt32>
      let key: SIMD2<UInt32>
    }

    /// From `kat_vectors` of Random123.
    static let vectors = [
      Vector(
        counter: SIMD4(repeating: 0), result: SIMD4(0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8),
        key: SIMD2(0, 0)),
      Vector(
        counter: SIMD4(repeating: 0xffff_ffff),
        result: SIMD4(0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd),
        key: SIMD2(0xffff_ffff, 0xffff_ffff)),
      Vector(
        counter: SIMD4(0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344),
        result: SIMD4(0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1),
        key: SIMD2(0xa409_3822, 0x299f_31d0)),
    ]

    @Test(arguments: vectors) func philoxKnownAnswers(vector: Vector) {
      for purpose in RandomPurpose.allCases {
        let key = (vector.key[0], vector.key[1])
        let random = CounterRandom(seed: seed(of: key, purpose), purpose: purpose)
        #expect(random.key == key)
        #expect(random.block(vector.counter) == vector.result)
      }
    }

    @Test func purposesAndSeedsDiffer() {
      var keys: Set<UInt64> = []
      for seed in 0..<20 {
        for purpose in RandomPurpose.allCases {
          let key = CounterRandom(seed: UInt64(seed), purpose: purpose).key
          keys.insert(UInt64(key.0) | UInt64(key.1) << 32)
        }
      }
      #expect(keys.count == 20 * RandomPurpose.allCases.count)
      #expect(RandomPurpose.allCases.map(\.rawValue) == Array(1...10))
    }

    @Test func streamReadsBlocksInOrder() {
      let random = CounterRandom(seed: 3, purpose: .masking)
      var stream = random.stream(7, 8, 9)
      for block in 0..<3 {
        let words = random.block(SIMD4(UInt32(block), 7, 8, 9))
        for lane in 0..<4 { #expect(stream.next() == words[lane]) }
      }
    }

    @Test(arguments: [1, 2, 3, 7, 10, 1_000, 3_000_000_000, UInt32.max]) func bounds(bound: UInt32) {
      var stream = CounterRandom(seed: 4, purpose: .heldOut).stream(bound)
      var (largest, sum) = (UInt32(0), 0.0)
      let count = 20_000
      for _ in 0..<count {
        let value = stream.next(below: bound)
        #expect(value < bound)
        largest = max(largest, value)
        sum += Double(value)
      }
      let mean = Double(bound - 1) / 2
      // Five standard deviations of the mean of uniform numbers.
      let deviation = Double(bound) / (12 * Double(count)).squareRoot()
      #expect(abs(sum / Double(count) - mean) <= 5 * deviation)
      #expect(Double(largest) >= 0.99 * Double(bound - 1))
    }

    /// Each of a few values about equally often: a chi-squared of 6 degrees of freedom is below 30 but for 4e-5.
    @Test func smallBoundIsUniform() {
      var stream = CounterRandom(seed: 5, purpose: .heldOut).stream(0)
      var counts = [Int](repeating: 0, count: 7)
      for _ in 0..<70_000 { counts[Int(stream.next(below: 7))] += 1 }
      let chi = counts.reduce(0.0) { $0 + (Double($1) - 10_000) * (Double($1) - 10_000) / 10_000 }
      #expect(chi < 30, "\(counts)")
    }

    @Test func unitIsBelowOne() {
      var stream = CounterRandom(seed: 6, purpose: .heldOut).stream(0)
      var sum = 0.0
      for _ in 0..<20_000 {
        let value = stream.unit()
        #expect(value >= 0 && value < 1)
        sum += Double(value)
      }
      #expect(abs(sum / 20_000 - 0.5) < 0.01)
    }

    @Test func shuffleIsAUniformPermutation() {
      var counts: [[Int]: Int] = [:]
      for place in 0..<UInt32(24_000) {
        var stream = CounterRandom(seed: 7, purpose: .sampleOrder).stream(place)
        var elements = [0, 1, 2, 3]
        stream.shuffle(&elements)
        counts[elements, default: 0] += 1
      }
      #expect(counts.count == 24 && counts.keys.allSatisfy { $0.sorted() == [0, 1, 2, 3] })
      // A chi-squared of 23 degrees of freedom is below 60 but for 4e-5.
      let chi = counts.values.reduce(0.0) { $0 + (Double($1) - 1_000) * (Double($1) - 1_000) / 1_000 }
      #expect(chi < 60)
      var stream = CounterRandom(seed: 7, purpose: .sampleOrder).stream(0)
      var (empty, one): ([Int], [Int]) = ([], [5])
      stream.shuffle(&empty)
      stream.shuffle(&one)
      #expect(empty.isEmpty && one == [5])
    }
  }
}
