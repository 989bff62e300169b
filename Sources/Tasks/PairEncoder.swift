import Corpora

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

  /// A text that is too long loses its last tokens; of two the longer one does, token by token, and of equally long ones the
  /// second (Devlin et al. 2019, google-research/bert `_truncate_seq_pair`).
  ///
  /// - Returns: the tokens of each text, and how many there was no room for.
  /// - Precondition: one or two texts.
  public func tokens(_ texts: [String]) -> (parts: [[Int32]], cut: Int) {
    precondition((1...2).contains(texts.count), "\(texts.count) texts of a sequence")
    var parts = texts.map { tokenizer.encode($0) }
    let cut = Self.cut(&parts, to: length - 1 - parts.count)
    return (parts, cut)
  }

  /// The sequence of what `tokens` gives.
  public func encode(_ texts: [String]) -> Encoded {
    let (parts, cut) = tokens(texts)
    var ids = [vocabulary.classification]
    var types: [Int32] = [0]
    for (index, part) in parts.enumerated() {
      ids += part + [vocabulary.separator]
      types += Array(repeating: Int32(index), count: part.count + 1)
    }
    let padding = length - ids.count
    return Encoded(
      ids: ids + Array(repeating: vocabulary.padding, count: padding),
      types: types + Array(repeating: 0, count: padding), count: ids.count, cut: cut)
  }

  /// Takes tokens away until there is room for all; returns how many.
  static func cut(_ parts: inout [[Int32]], to room: Int) -> Int {
    let all = parts.reduce(0) { $0 + $1.count }
    guard all > room else { return 0 }
    guard parts.count == 2 else {
      parts[0].removeLast(all - room)
      return all - room
    }
    // What token by token comes to: the longer one down to the other's length, then in turns, the second one first.
    var (first, second) = (parts[0].count, parts[1].count)
    while first + second > room {
      if first > second { first -= 1 } else { second -= 1 }
    }
    parts[0].removeLast(parts[0].count - first)
    parts[1].removeLast(parts[1].count - second)
    return all - room
  }
}
