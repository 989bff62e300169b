import Corpora
import WordPiece

/// One or two texts as the tokens of a sequence: `[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]`, then padding.
public struct PairEncoder: Sendable {
  public struct Encoded: Equatable, Sendable {
    /// As many as the encoder's length.
    public let ids: [Int32]
    /// 1 for the second text and its [SEP], else 0.
    public let types: [Int32]
    /// Tokens before the padding.
    public let count: Int
    /// Tokens of the texts that there was no room for.
    public let cut: Int
  }

  private let tokenizer: WordPieceTokenizer
  public let length: Int
  public var vocabulary: Vocabulary { tokenizer.vocabulary }

  /// - Parameter length: tokens of a sequence, at least 5.
  public init(_ vocabulary: Vocabulary, length: Int) {
    precondition(length >= 5, "sequences of \(length) tokens")
    tokenizer = WordPieceTokenizer(vocabulary: vocabulary)
    self.length = length
  }

  /// What is too long is cut (`TokenSequence.cut`).
  ///
  /// - Returns: the tokens of each text, and how many there was no room for.
  /// - Precondition: one or two texts.
  public func tokens(_ texts: [String]) -> (parts: [[Int32]], cut: Int) {
    precondition((1...2).contains(texts.count), "\(texts.count) texts of a sequence")
    var parts = texts.map { tokenizer.encode($0) }
    let cut = TokenSequence.cut(&parts, to: length - 1 - parts.count)
    return (parts, cut)
  }

  /// The sequence of these texts, padded.
  public func encode(_ texts: [String]) -> Encoded {
    let bare = TokenSequence(
      texts.map { tokenizer.encode($0) }, limit: length, classification: vocabulary.classification,
      separator: vocabulary.separator)
    let padding = length - bare.ids.count
    return Encoded(
      ids: bare.ids + Array(repeating: vocabulary.padding, count: padding),
      types: bare.types + Array(repeating: 0, count: padding), count: bare.ids.count, cut: bare.cut)
  }
}
