/// The sequences of one micro-batch. Legend: B sequences, T tokens.
public struct Batch: Equatable, Sendable {
  /// The label of a token or sequence that does not count.
  public static let ignored: Int32 = -100

  public let sequences: Int
  public let length: Int
  /// B×T token ids.
  public var inputIDs: [Int32]
  /// B×T, 0 for the first segment, 1 for the second.
  public var tokenTypeIDs: [Int32]
  /// B: the number of real tokens; those after it are padding.
  public var lengths: [Int32]
  /// B×T: the original id where a token is to be predicted, else -100.
  public var labels: [Int32]
  /// B: 0 when the second segment follows the first, 1 when it comes from another document, negative where the
  /// sequence does not count.
  public var nextSentenceLabels: [Int32]
  /// B: the sample each sequence is, which keys its dropout.
  public var sampleIDs: [UInt64]
  public var epoch: UInt32

  public init(
    sequences: Int, length: Int, inputIDs: [Int32], tokenTypeIDs: [Int32], lengths: [Int32], labels: [Int32],
    nextSentenceLabels: [Int32], sampleIDs: [UInt64], epoch: UInt32
  ) {
    let tokens = sequences * length
    precondition(
      inputIDs.count == tokens && tokenTypeIDs.count == tokens && labels.count == tokens,
      "a batch of \(sequences)×\(length) tokens from \(inputIDs.count), \(tokenTypeIDs.count), \(labels.count)"
    )
    precondition(
      lengths.count == sequences && nextSentenceLabels.count == sequences && sampleIDs.count == sequences,
      "a batch of \(sequences) sequences from \(lengths.count), \(nextSentenceLabels.count), \(sampleIDs.count)"
    )
    self.sequences = sequences
    self.length = length
    self.inputIDs = inputIDs
    self.tokenTypeIDs = tokenTypeIDs
    self.lengths = lengths
    self.labels = labels
    self.nextSentenceLabels = nextSentenceLabels
    self.sampleIDs = sampleIDs
    self.epoch = epoch
  }

  /// How many sequences of a micro-batch of `sequences` one forward and backward handles: the largest divisor that keeps
  /// the tokens at 1,024 or less, at least one sequence. A function of the shapes alone, so the same on every machine.
  public static func sliceSequences(of sequences: Int, length: Int) -> Int {
    (1...max(1, sequences)).last { sequences % $0 == 0 && ($0 == 1 || $0 * length <= 1024) }!
  }

  /// The sequences in consecutive slices of `count`, which divides their number.
  public func slices(of count: Int) -> [Batch] {
    if count == sequences { return [self] }
    precondition(sequences % count == 0, "slices of \(count) of \(sequences) sequences")
    return stride(from: 0, to: sequences, by: count).map { first in
      let own = first..<first + count
      let tokens = first * length..<(first + count) * length
      return Batch(
        sequences: count, length: length, inputIDs: Array(inputIDs[tokens]),
        tokenTypeIDs: Array(tokenTypeIDs[tokens]), lengths: Array(lengths[own]),
        labels: Array(labels[tokens]), nextSentenceLabels: Array(nextSentenceLabels[own]),
        sampleIDs: Array(sampleIDs[own]), epoch: epoch)
    }
  }

  /// The number of tokens to predict.
  public var maskedTokens: Int { labels.count { $0 >= 0 } }
}
