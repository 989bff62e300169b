import Kernels

/// A pseudo-random permutation of 0 ..< count, computed element by element: no table, no state.
///
/// A Feistel network on the smallest power of two that holds `count` (Luby and Rackoff, SIAM J. Comput. 1988; halves
/// of unequal width where the bits are odd), with cycle walking: a value outside the range is mapped again until it
/// falls inside (Black and Rogaway, CT-RSA 2002). Its definition is part of a run's: never change it.
public struct KeyedPermutation: Sendable {
  /// Four rounds suffice for wide halves; small ones need more.
  static let rounds: UInt32 = 8
  public let count: Int
  private let random: CounterRandom
  private let place: (UInt32, UInt32, UInt32)
  private let lowBits: UInt32
  private let lowMask: UInt32
  private let highMask: UInt32

  /// The permutation of 0 ..< `count` (1 to 2⁴⁰) that `random` has at `place`.
  public init(count: Int, random: CounterRandom, place: (UInt32, UInt32, UInt32)) {
    precondition(count >= 1 && count <= 1 << 40, "a permutation of \(count) elements")
    self.count = count
    self.random = random
    self.place = place
    let bits = UInt32(Int.bitWidth - (count - 1).leadingZeroBitCount)
    lowBits = (bits + 1) / 2
    lowMask = (1 << lowBits) - 1
    highMask = (1 << (bits - lowBits)) - 1
  }

  /// Where the permutation takes `index`.
  ///
  /// - Cost: eight Philox blocks a walk, fewer than two walks on average; no allocation.
  public subscript(index: Int) -> Int {
    precondition(index >= 0 && index < count, "element \(index) of a permutation of \(count)")
    var value = index
    repeat { value = encrypt(value) } while value >= count
    return value
  }

  private func encrypt(_ value: Int) -> Int {
    var low = UInt32(truncatingIfNeeded: value) & lowMask
    var high = UInt32(truncatingIfNeeded: value >> Int(lowBits))
    for round in 0..<Self.rounds {
      if round % 2 == 0 {
        high ^= noise(round, low) & highMask
      } else {
        low ^= noise(round, high) & lowMask
      }
    }
    return Int(high) << Int(lowBits) | Int(low)
  }

  /// Halves have at most 20 bits, so round and half share a counter word.
  private func noise(_ round: UInt32, _ half: UInt32) -> UInt32 {
    random.block(SIMD4(round << 24 | half, place.0, place.1, place.2))[0]
  }
}
