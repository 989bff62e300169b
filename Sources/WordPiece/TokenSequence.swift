/// One or two texts as the tokens of a sequence: `[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]`.
public struct TokenSequence: Equatable, Sendable {
  public let ids: [Int32]
  /// 1 for the second text and its [SEP], else 0; as many as `ids`.
  public let types: [Int32]
  /// Tokens of the texts that there was no room for.
  public let cut: Int

  /// - Parameters:
  ///   - texts: the tokens of one or two texts.
  ///   - limit: the most tokens of the sequence; nil for any number.
  ///   - classification, separator: the ids of [CLS] and [SEP].
  public init(_ texts: [[Int32]], limit: Int?, classification: Int32, separator: Int32) {
    precondition((1...2).contains(texts.count), "\(texts.count) texts of a sequence")
    var texts = texts
    cut = limit.map { Self.cut(&texts, to: max(0, $0 - 1 - texts.count)) } ?? 0
    var ids = [classification]
    var types: [Int32] = [0]
    for (index, text) in texts.enumerated() {
      ids += text + [separator]
      types += Array(repeating: Int32(index), count: text.count + 1)
    }
    self.ids = ids
    self.types = types
  }

  /// Takes tokens away until there is room for all; returns how many. A text that is too long loses its last tokens; of two the
  /// longer one does, token by token, and of equally long ones the second (Devlin et al. 2019, google-research/bert
  /// `_truncate_seq_pair`).
  public static func cut(_ texts: inout [[Int32]], to room: Int) -> Int {
    let all = texts.reduce(0) { $0 + $1.count }
    guard all > room else { return 0 }
    guard texts.count == 2 else {
      texts[0].removeLast(all - room)
      return all - room
    }
    // What token by token comes to: the longer one down to the other's length, then in turns, the second one first.
    var (first, second) = (texts[0].count, texts[1].count)
    while first + second > room {
      if first > second { first -= 1 } else { second -= 1 }
    }
    texts[0].removeLast(texts[0].count - first)
    texts[1].removeLast(texts[1].count - second)
    return all - room
  }
}
