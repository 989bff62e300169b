/// How the sentences of one shard are cut into pieces, of which chunks are made.
///
/// A sentence of at most `longest` = T − 3 tokens is one piece. A longer one (text without full stops, a shard that was made
/// without splitting sentences) would give one sample that shows a part of it and hides the rest, so it is cut into the fewest
/// pieces of at most ⌈longest / 4⌉ tokens, as equal as can be. Four of them fill a sample: the pair can be cut between them,
/// and next to nothing is cut off. A piece may begin or end within a word, as a pair that is cut to length may.
///
/// - Cost: 12 bytes a sentence that is cut; nothing for the others.
struct PieceTable: Sendable {
  /// Number of pieces.
  private(set) var count = 0
  /// T − 3.
  let longest: Int
  /// The longest piece of a sentence that is cut.
  let pieceLength: Int

  /// The sentences that are cut, ascending.
  private var cutSentences: [UInt32] = []
  /// Of each of them the number of pieces up to its end.
  private var ends: [Int] = []

  /// A table of no sentence.
  ///
  /// - Parameter pieceLength: nil for ⌈longest / 4⌉.
  init(longest: Int, pieceLength: Int? = nil) {
    self.longest = longest
    self.pieceLength = pieceLength ?? (longest + 3) / 4
  }

  /// Adds the next sentence, `number`, of `length` tokens. Returns the number of its pieces.
  mutating func append(_ number: Int, length: Int) -> Int {
    guard length > longest else {
      count += 1
      return 1
    }
    let pieces = (length + pieceLength - 1) / pieceLength
    count += pieces
    cutSentences.append(UInt32(number))
    ends.append(count)
    return pieces
  }

  /// Where the pieces of a sentence of `length` tokens meet: piece k of n is `bound(k, n) ..< bound(k + 1, n)` of its tokens.
  static func bound(_ piece: Int, of pieces: Int, length: Int) -> Int { length * piece / pieces }

  /// The sentence that a piece belongs to, its place among that sentence's pieces, and their number.
  ///
  /// - Cost: O(log of the number of sentences that are cut).
  func place(of piece: Int) -> (sentence: Int, index: Int, pieces: Int) {
    let next = ends.firstIndexOfNotLess(than: piece + 1)
    if next < ends.count {
      let first = firstPiece(ofCut: next)
      if piece >= first { return (Int(cutSentences[next]), piece - first, ends[next] - first) }
    }
    return (piece - surplus(before: next), 0, 1)
  }

  /// Where the tokens of a piece stand among those of the .bin file of the shard that the table is of.
  ///
  /// - Throws: `changedWhileOpen` where the index no longer says what it said.
  func tokens(of piece: Int, in dataset: IndexedDataset) throws(CorpusError) -> Range<Int> {
    let (sentence, index, pieces) = place(of: piece)
    let tokens = try dataset.tokenRange(of: sentence)
    func bound(_ index: Int) -> Int {
      tokens.lowerBound + Self.bound(index, of: pieces, length: tokens.count)
    }
    return bound(index)..<bound(index + 1)
  }

  private func firstPiece(ofCut index: Int) -> Int { Int(cutSentences[index]) + surplus(before: index) }

  /// By how much pieces outnumber sentences before the sentence `cutSentences[index]`.
  private func surplus(before index: Int) -> Int {
    index == 0 ? 0 : ends[index - 1] - Int(cutSentences[index - 1]) - 1
  }
}
