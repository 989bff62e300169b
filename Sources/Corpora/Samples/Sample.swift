/// One training sequence: `[CLS] A [SEP] B [SEP]`, padded, with some tokens masked. T is its length.
public struct Sample: Sendable, Equatable {
  /// T token ids, after the real ones [PAD].
  public let inputIDs: [Int32]
  /// T values: 0 for [CLS] A [SEP] and the padding, 1 for B [SEP].
  public let tokenTypeIDs: [Int32]
  /// Number of real tokens.
  public let length: Int
  /// T values: the original token where it is to be predicted, else -100.
  public let labels: [Int32]
  /// 0 where B follows A, 1 where B was drawn from another document.
  public let nextSentenceLabel: Int32

  public init(
    inputIDs: [Int32], tokenTypeIDs: [Int32], length: Int, labels: [Int32], nextSentenceLabel: Int32
  ) {
    self.inputIDs = inputIDs
    self.tokenTypeIDs = tokenTypeIDs
    self.length = length
    self.labels = labels
    self.nextSentenceLabel = nextSentenceLabel
  }
}
