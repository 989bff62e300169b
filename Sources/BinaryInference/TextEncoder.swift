import WordPiece

/// Text as the token ids that a model reads: BERT's uncased tokeniser over the model's own vocabulary.
///
///     let encoder = try TextEncoder(model.vocabulary)
///     let vector = try model.embed(encoder.encode("The old king said nothing.").tokens)
///
/// A value that any thread may use. It is apart from the model since whoever has token ids can do without.
public struct TextEncoder: Sendable {
  private let words: WordPieceEncoder
  private let classification: Int32
  private let separator: Int32

  /// A sequence for a model.
  public struct Encoded: Equatable, Sendable {
    /// `[CLS] a [SEP]`, or `[CLS] a [SEP] b [SEP]`.
    public let tokens: [Int32]
    /// 1 for b and its [SEP], else 0; as many as `tokens`.
    public let segments: [Int32]
    /// Tokens of the texts that there was no room for.
    public let cut: Int
  }

  /// - Throws: `vocabulary` where that cannot serve.
  /// - Cost: about 4 ms for 30,522 tokens, and 4 megabytes; with the first one in a process the tables of normalisation.
  public init(_ vocabulary: ModelVocabulary) throws(BinaryModelError) {
    guard let words = WordPieceEncoder(vocabulary.lines) else {
      throw .vocabulary("its tokens have too many different beginnings")
    }
    self.words = words
    classification = vocabulary.classification
    separator = vocabulary.separator
  }

  /// One text, or two.
  ///
  /// - Parameter limit: the most tokens, [CLS] and [SEP] included; a text that is too long loses its end, of two the longer one
  ///   first, token by token, as in training. nil cuts nothing.
  public func encode(_ text: String, _ second: String? = nil, limit: Int? = nil) -> Encoded {
    let texts = [text] + (second.map { [$0] } ?? [])
    let sequence = TokenSequence(
      texts.map { words.encode($0) }, limit: limit, classification: classification, separator: separator)
    return Encoded(tokens: sequence.ids, segments: sequence.types, cut: sequence.cut)
  }
}
