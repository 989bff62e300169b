/// Which tokens of a split some samples hold, as first or second part.
///
/// - Cost: a bit a token of the split.
public struct TokenCoverage: Sendable {
  /// Tokens of the split, and those that a sample added so far holds.
  public let tokenCount: Int
  public private(set) var seenCount = 0

  private var shards: [[UInt64]]

  /// Of no sample yet.
  public init(_ source: SampleSource) {
    let counts = source.shardTokenCounts
    tokenCount = counts.reduce(0, +)
    shards = counts.map { [UInt64](repeating: 0, count: ($0 + 63) / 64) }
  }

  /// The share that has been seen, as "81.3 %".
  public var percentage: String { percent(seenCount, of: tokenCount) }

  /// Adds what a sample holds.
  ///
  /// - Cost: reads no token; a few look-ups, and T / 64 words.
  public mutating func add(_ pair: SamplePair) {
    for part in [pair.first, pair.second] { add(part.tokens, of: part.shard) }
  }

  private mutating func add(_ tokens: Range<Int>, of shard: Int) {
    var start = tokens.lowerBound
    while start < tokens.upperBound {
      let (word, bit) = (start / 64, start % 64)
      let count = min(64 - bit, tokens.upperBound - start)
      let mask: UInt64 = (count == 64 ? .max : (1 << UInt64(count)) - 1) << UInt64(bit)
      seenCount += (mask & ~shards[shard][word]).nonzeroBitCount
      shards[shard][word] |= mask
      start += count
    }
  }
}

/// A share of counts for people: two more digits than a whole per cent needs near the ends.
func percent(_ part: Int, of whole: Int) -> String {
  guard whole > 0, part >= 0, part <= whole else { return "0 %" }
  // In integers, rounded down: less than all is never shown as 100 %.
  let hundredths = part.multipliedFullWidth(by: 10_000)
  let value = Int(whole.dividingFullWidth(hundredths).quotient)
  let digits = value % 100
  return "\(value / 100).\(digits < 10 ? "0" : "")\(digits) %"
}
