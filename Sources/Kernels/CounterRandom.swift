/// What a random number is drawn for. Part of the generator's key, so that no two purposes share numbers.
/// The raw values are part of the definition of a run: never renumber them.
public enum RandomPurpose: UInt32, CaseIterable, Sendable {
  case initialisation = 1
  case shardOrder = 2
  case sampleOrder = 3
  case chunkTarget = 4
  case sentencePair = 5
  case masking = 6
  case dropout = 7
  case heldOut = 8
  case backwardRounding = 9
  case trainingRows = 10
}

/// Philox4x32-10, a counter-based generator: a pure function of key and counter, so nothing has to be stored.
///
/// Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
public struct CounterRandom: Sendable {
  public let key: (UInt32, UInt32)

  /// The generator of one purpose in a run seeded with `seed`.
  public init(seed: UInt64, purpose: RandomPurpose) {
    // The finaliser of SplitMix64 spreads seed and purpose over the key (Steele et al., OOPSLA 2014).
    var z = seed &+ UInt64(purpose.rawValue) &* 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    z ^= z >> 31
    key = (UInt32(truncatingIfNeeded: z), UInt32(truncatingIfNeeded: z >> 32))
  }

  init(key: (UInt32, UInt32)) { self.key = key }

  /// The four words at one counter.
  ///
  /// - Cost: 10 rounds of two 32×32-bit products.
  public func block(_ counter: SIMD4<UInt32>) -> SIMD4<UInt32> {
    var (c0, c1, c2, c3) = (counter[0], counter[1], counter[2], counter[3])
    var (k0, k1) = key
    for _ in 0..<10 {
      let p0 = UInt64(0xD251_1F53) &* UInt64(c0)
      let p1 = UInt64(0xCD9E_8D57) &* UInt64(c2)
      (c0, c1, c2, c3) = (
        UInt32(truncatingIfNeeded: p1 >> 32) ^ c1 ^ k0, UInt32(truncatingIfNeeded: p1),
        UInt32(truncatingIfNeeded: p0 >> 32) ^ c3 ^ k1, UInt32(truncatingIfNeeded: p0)
      )
      k0 &+= 0x9E37_79B9
      k1 &+= 0xBB67_AE85
    }
    return SIMD4(c0, c1, c2, c3)
  }

  /// The last three words of the counter for what is drawn at `place` (below 2¹⁶) of the network for one sample in one
  /// epoch. The epoch's lower half stands beside the place, its upper half above the sample, so that counters differ for
  /// samples below 2⁴⁸.
  static func counter(place: Int, epoch: UInt32, sample: UInt64) -> (UInt32, UInt32, UInt32) {
    precondition(place >= 0 && place < 65_536, "random numbers of place \(place)")
    return (
      UInt32(place) | epoch << 16, UInt32(truncatingIfNeeded: sample),
      UInt32(truncatingIfNeeded: sample >> 32) ^ (epoch & 0xFFFF_0000)
    )
  }

  /// The numbers at (a, b, c), one after the other; the fourth counter word counts blocks.
  public func stream(_ a: UInt32, _ b: UInt32 = 0, _ c: UInt32 = 0) -> RandomStream {
    RandomStream(random: self, place: (a, b, c))
  }
}

/// Reads the numbers of one place of a `CounterRandom` in order.
public struct RandomStream: Sendable {
  let random: CounterRandom
  let place: (UInt32, UInt32, UInt32)
  var blockIndex: UInt32 = 0
  var lane = 4
  var words = SIMD4<UInt32>()

  init(random: CounterRandom, place: (UInt32, UInt32, UInt32)) {
    self.random = random
    self.place = place
  }

  /// The next 32 random bits.
  public mutating func next() -> UInt32 {
    if lane == 4 {
      words = random.block(SIMD4(blockIndex, place.0, place.1, place.2))
      blockIndex &+= 1
      lane = 0
    }
    defer { lane += 1 }
    return words[lane]
  }

  /// Uniform in 0 ..< bound without bias (Lemire 2019: multiply, reject the short part).
  public mutating func next(below bound: UInt32) -> UInt32 {
    precondition(bound > 0, "a random number below 0")
    var product = UInt64(next()) * UInt64(bound)
    if UInt32(truncatingIfNeeded: product) < bound {
      let threshold = (0 &- bound) % bound
      while UInt32(truncatingIfNeeded: product) < threshold { product = UInt64(next()) * UInt64(bound) }
    }
    return UInt32(product >> 32)
  }

  /// Uniform in [0, 1), 24 bits.
  public mutating func unit() -> Float { Float(next() >> 8) * 0x1p-24 }

  /// Shuffles `elements` (Fisher-Yates); fewer than 2³² of them.
  public mutating func shuffle<Element>(_ elements: inout [Element]) {
    guard elements.count > 1 else { return }
    for last in stride(from: elements.count - 1, to: 0, by: -1) {
      elements.swapAt(last, Int(next(below: UInt32(last + 1))))
    }
  }
}
