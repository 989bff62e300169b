/// What an objective is to be told of a batch beside its tokens: labels, by sequence or by token.
public protocol BatchLabels: Equatable, Sendable {
  /// Those of the consecutive sequences `own`, of `length` tokens each.
  func slice(_ own: Range<Int>, length: Int) -> Self
  /// Those of several batches one after the other.
  static func joined(_ parts: [Self]) -> Self
  /// The same number of labels of which none counts, to fill a batch up with.
  var ignored: Self { get }
}

/// A micro-batch: tokens for the encoder, labels for the objective. Legend: B sequences, T tokens.
public struct Batch<Labels: BatchLabels>: Equatable, Sendable {
  public var tokens: TokenBatch
  public var labels: Labels

  public init(tokens: TokenBatch, labels: Labels) {
    self.tokens = tokens
    self.labels = labels
  }

  /// One batch of several, of sequences of the same length and of one epoch, in their order.
  ///
  /// - Precondition: there is at least one.
  public init(joining parts: [Batch]) {
    let first = parts[0].tokens
    precondition(
      parts.allSatisfy { $0.tokens.length == first.length && $0.tokens.epoch == first.epoch },
      "batches of different shapes")
    tokens = TokenBatch(
      sequences: parts.reduce(0) { $0 + $1.sequences }, length: first.length,
      inputIDs: parts.flatMap(\.tokens.inputIDs), tokenTypeIDs: parts.flatMap(\.tokens.tokenTypeIDs),
      lengths: parts.flatMap(\.tokens.lengths), sampleIDs: parts.flatMap(\.tokens.sampleIDs),
      epoch: first.epoch)
    labels = .joined(parts.map(\.labels))
  }

  public var sequences: Int { tokens.sequences }
  public var length: Int { tokens.length }

  /// The sequences in consecutive slices of `count`, which divides their number.
  public func slices(of count: Int) -> [Batch] {
    if count == sequences { return [self] }
    precondition(sequences % count == 0, "slices of \(count) of \(sequences) sequences")
    return stride(from: 0, to: sequences, by: count).map { first in
      let own = first..<first + count
      return Batch(tokens: tokens.slice(own), labels: labels.slice(own, length: length))
    }
  }
}
