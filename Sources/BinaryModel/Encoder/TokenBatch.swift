/// The sequences of one micro-batch as the encoder sees them. Legend: B sequences, T tokens.
public struct TokenBatch: Equatable, Sendable {
  public let sequences: Int
  public let length: Int
  /// B×T token ids.
  public var inputIDs: [Int32]
  /// B×T, 0 for the first segment, 1 for the second.
  public var tokenTypeIDs: [Int32]
  /// B: the number of real tokens; those after it are padding.
  public var lengths: [Int32]
  /// B: the sample each sequence is, which keys its dropout.
  public var sampleIDs: [UInt64]
  public var epoch: UInt32

  public init(
    sequences: Int, length: Int, inputIDs: [Int32], tokenTypeIDs: [Int32], lengths: [Int32],
    sampleIDs: [UInt64], epoch: UInt32
  ) {
    let tokens = sequences * length
    precondition(
      inputIDs.count == tokens && tokenTypeIDs.count == tokens,
      "a batch of \(sequences)×\(length) tokens from \(inputIDs.count), \(tokenTypeIDs.count)")
    precondition(
      lengths.count == sequences && sampleIDs.count == sequences,
      "a batch of \(sequences) sequences from \(lengths.count), \(sampleIDs.count)")
    self.sequences = sequences
    self.length = length
    self.inputIDs = inputIDs
    self.tokenTypeIDs = tokenTypeIDs
    self.lengths = lengths
    self.sampleIDs = sampleIDs
    self.epoch = epoch
  }

  /// The tokens of consecutive sequences.
  func slice(_ own: Range<Int>) -> TokenBatch {
    let tokens = own.lowerBound * length..<own.upperBound * length
    return TokenBatch(
      sequences: own.count, length: length, inputIDs: Array(inputIDs[tokens]),
      tokenTypeIDs: Array(tokenTypeIDs[tokens]), lengths: Array(lengths[own]),
      sampleIDs: Array(sampleIDs[own]), epoch: epoch)
  }

  /// The first `count` sequences.
  public func first(_ count: Int) -> TokenBatch { slice(0..<count) }

  /// How many sequences of a micro-batch of `sequences` one forward and backward handles: the largest divisor that keeps
  /// the tokens at 1,024 or less, at least one sequence. A function of the shapes alone, so the same on every machine.
  public static func sliceSequences(of sequences: Int, length: Int) -> Int {
    (1...max(1, sequences)).last { sequences % $0 == 0 && ($0 == 1 || $0 * length <= 1024) }!
  }
}
