import Kernels

/// Consecutive tokens of one shard of a split.
public struct TokenRange: Sendable, Equatable {
  /// The shard's place among those of the split, in the order of corpus.json.
  public let shard: Int
  /// Places among the tokens of the shard's .bin file.
  public let tokens: Range<Int>
}

/// Where the two parts of a sample stand.
public struct SamplePair: Sendable, Equatable {
  public let first: TokenRange
  public let second: TokenRange
  /// Whether the second part was drawn from another document.
  public let isRandom: Bool

  /// Cuts a pair to `limit` tokens, at least 2. Neither part becomes empty.
  init(first: TokenRange, second: TokenRange, isRandom: Bool, limit: Int, stream: inout RandomStream) {
    let (a, b) = (first.tokens.count, second.tokens.count)
    let excess = max(0, a + b - limit)
    // The longer part is shortened until it is as long as the other, then both.
    let kept =
      a - b >= excess
      ? (a - excess, b) : b - a >= excess ? (a, b - excess) : ((limit + 1) / 2, limit / 2)
    self.first = Self.cut(first, to: kept.0, stream: &stream)
    self.second = Self.cut(second, to: kept.1, stream: &stream)
    self.isRandom = isRandom
  }

  /// One of the fewest runs of `length` tokens that cover the range when they are spread evenly, each as likely.
  private static func cut(_ range: TokenRange, to length: Int, stream: inout RandomStream) -> TokenRange {
    let tokens = range.tokens
    guard tokens.count > length else { return range }
    let runs = (tokens.count + length - 1) / length
    let run = Int(stream.next(below: UInt32(runs)))
    let start = tokens.lowerBound + (tokens.count - length) * run / (runs - 1)
    return TokenRange(shard: range.shard, tokens: start..<start + length)
  }
}
