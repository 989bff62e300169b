import WordPiece

/// The tokeniser of a vocabulary (`WordPieceEncoder`).
public struct WordPieceTokenizer: Sendable {
  public let vocabulary: Vocabulary
  private let encoder: WordPieceEncoder

  /// - Cost: builds the tokeniser's trie, about 10 ms for 30,522 tokens.
  public init(vocabulary: Vocabulary) {
    guard let encoder = WordPieceEncoder(TokenLines(vocabulary.tokens)) else {
      preconditionFailure("a vocabulary that was not checked")
    }
    self.vocabulary = vocabulary
    self.encoder = encoder
  }

  /// The token ids of a text, without [CLS] and [SEP].
  public func encode(_ text: String) -> [Int32] { encoder.encode(text) }

  /// Appends the token ids of UTF-8 text to `ids`. Bytes that are not UTF-8 are left out like control characters; whoever
  /// must not lose them checks first.
  ///
  /// - Cost: O(bytes); no allocation but for `ids`.
  public func encode(utf8 bytes: Span<UInt8>, into ids: inout [Int32]) {
    encoder.encode(utf8: bytes, into: &ids)
  }

  func encode(_ bytes: UnsafeBufferPointer<UInt8>, into ids: inout [Int32]) {
    encoder.encode(bytes, into: &ids)
  }
}
