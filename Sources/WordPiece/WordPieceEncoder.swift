/// BERT's uncased tokeniser: normalisation, words and punctuation, WordPiece. Equal id for id to
/// `BertWordPieceTokenizer` of the Python package tokenizers 0.23 without added special tokens. From bytes, without
/// Foundation, so that programs that use a model have it too.
///
/// As there, the texts `[PAD]`, `[UNK]`, `[CLS]`, `[SEP]` and `[MASK]`, written exactly so, become those tokens wherever
/// they stand; and a word of more than 100 scalars after normalisation becomes [UNK].
///
/// Source: Devlin et al. 2019; google-research/bert `tokenization.py`.
public struct WordPieceEncoder: Sendable {
  /// The tokens that every vocabulary has.
  public static let specialTokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

  private let unknown: Int32
  private let trie: TokenTrie
  private let normalizer = UncasedNormalizer.shared
  /// The special tokens' UTF-8 with their ids.
  private let special: [(bytes: [UInt8], id: Int32)]

  /// The longest word in scalars.
  static let maximumWordLength = 100

  /// The most different beginnings that the tokens of a vocabulary may have.
  public static let beginningsLimit = TokenTrie.nodeLimit

  /// - Parameter lines: the tokens of the vocabulary in the order of their ids. An empty line holds no token.
  /// - Returns: nil without one of `specialTokens`, or where tokens have more than `beginningsLimit` different beginnings.
  /// - Cost: builds the trie, 4 ms for 30,522 tokens.
  public init?(_ lines: TokenLines) {
    // By their bytes: Swift compares strings by canonical equivalence.
    let bytes = Self.specialTokens.map { Array($0.utf8) }
    var ids = [Int32?](repeating: nil, count: bytes.count)
    for id in 0..<lines.count where lines[id].first == UInt8(ascii: "[") {
      if let place = bytes.firstIndex(where: { lines[id].elementsEqual($0) }) { ids[place] = Int32(id) }
    }
    let special = zip(bytes, ids).compactMap { bytes, id in id.map { (bytes: bytes, id: $0) } }
    guard special.count == bytes.count, let trie = TokenTrie(lines) else { return nil }
    self.trie = trie
    self.special = special
    unknown = special[1].id
  }

  /// The token ids of a text, without [CLS] and [SEP].
  public func encode(_ text: String) -> [Int32] {
    var (text, ids) = (text, [Int32]())
    text.withUTF8 { encode($0, into: &ids) }
    return ids
  }

  /// Appends the token ids of UTF-8 text to `ids`. Bytes that are not UTF-8 are left out like control characters; whoever
  /// must not lose them checks first.
  ///
  /// - Cost: O(bytes); no allocation but for `ids`.
  public func encode(utf8 bytes: Span<UInt8>, into ids: inout [Int32]) {
    bytes.withUnsafeBufferPointer { encode($0, into: &ids) }
  }

  /// The same of bytes in memory.
  public func encode(_ bytes: UnsafeBufferPointer<UInt8>, into ids: inout [Int32]) {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 4 * Self.maximumWordLength) { storage in
      var word = Word(storage: storage)
      var index = 0
      while index < bytes.count {
        let byte = bytes[index]
        if byte < 0x80 {
          index += 1
          if byte == UInt8(ascii: "["), let found = specialToken(bytes, at: index - 1) {
            finish(&word, into: &ids)
            ids.append(found.id)
            index += found.length - 1
          } else {
            addASCII(byte, to: &word, into: &ids)
          }
        } else {
          let (scalar, length) = Self.decode(bytes, at: index)
          index += length
          add(scalar, to: &word, into: &ids)
        }
      }
      finish(&word, into: &ids)
    }
  }

  /// The word that is being read, normalised.
  private struct Word {
    /// Room for the longest word; nothing is stored beyond it, only counted.
    let storage: UnsafeMutableBufferPointer<UInt8>
    var byteCount = 0
    var scalarCount = 0
    /// Kept marks since the last starter, by combining class: canonical order is a stable sort of such runs.
    var marks: [(scalar: UInt32, combiningClass: UInt8)] = []

    @inline(__always)
    mutating func append(ascii byte: UInt8) {
      if !marks.isEmpty { flushMarks() }
      scalarCount += 1
      guard scalarCount <= maximumWordLength else { return }
      storage[byteCount] = byte
      byteCount += 1
    }

    mutating func append(_ scalar: UInt32) {
      if !marks.isEmpty { flushMarks() }
      store(scalar)
    }

    mutating func insert(mark scalar: UInt32, combiningClass: UInt8) {
      var place = marks.count
      while place > 0 && marks[place - 1].combiningClass > combiningClass { place -= 1 }
      marks.insert((scalar, combiningClass), at: place)
    }

    mutating func flushMarks() {
      for mark in marks { store(mark.scalar) }
      marks.removeAll(keepingCapacity: true)
    }

    private mutating func store(_ scalar: UInt32) {
      scalarCount += 1
      guard scalarCount <= maximumWordLength, let value = Unicode.Scalar(scalar) else { return }
      for byte in UTF8.encode(value)! {
        storage[byteCount] = byte
        byteCount += 1
      }
    }
  }

  /// Ends the word: appends its tokens and empties it.
  @inline(__always)
  private func finish(_ word: inout Word, into ids: inout [Int32]) {
    if !word.marks.isEmpty { word.flushMarks() }
    guard word.scalarCount > 0 else { return }
    if word.scalarCount > Self.maximumWordLength {
      ids.append(unknown)
    } else {
      trie.split(
        UnsafeBufferPointer(rebasing: word.storage[..<word.byteCount]), unknown: unknown, into: &ids)
    }
    word.byteCount = 0
    word.scalarCount = 0
  }

  @inline(__always)
  private func addASCII(_ byte: UInt8, to word: inout Word, into ids: inout [Int32]) {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
      word.append(ascii: byte)
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): word.append(ascii: byte | 0x20)
    case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\n"), UInt8(ascii: "\r"):
      finish(&word, into: &ids)
    case 0..<0x20, 0x7F: break
    default:
      finish(&word, into: &ids)
      word.append(ascii: byte)
      finish(&word, into: &ids)
    }
  }

  private func add(_ scalar: UInt32, to word: inout Word, into ids: inout [Int32]) {
    switch UncasedNormalizer.Kind(rawValue: normalizer.kinds[Int(scalar)])! {
    case .removed, .removedNonstarter: break
    case .removedStarter: word.flushMarks()
    case .space: finish(&word, into: &ids)
    case .ideograph:
      finish(&word, into: &ids)
      addNormalised(scalar, to: &word, into: &ids)
      finish(&word, into: &ids)
    case .mapped:
      addNormalised(scalar, to: &word, into: &ids)
    case .hangul:
      // Algorithmic decomposition: The Unicode Standard, section 3.12.
      let index = scalar - 0xAC00
      word.append(0x1100 + index / 588)
      word.append(0x1161 + index % 588 / 28)
      if index % 28 != 0 { word.append(0x11A7 + index % 28) }
    case .ordinary, .punctuation, .keptNonstarter:
      append(scalar, to: &word, into: &ids)
    }
  }

  private func addNormalised(_ scalar: UInt32, to word: inout Word, into ids: inout [Int32]) {
    guard let range = normalizer.mapping(of: scalar) else { return append(scalar, to: &word, into: &ids) }
    for index in range { append(normalizer.outputs[index], to: &word, into: &ids) }
  }

  /// Takes up a scalar that normalisation leaves as it is.
  private func append(_ scalar: UInt32, to word: inout Word, into ids: inout [Int32]) {
    if scalar < 0x80 { return addASCII(UInt8(scalar), to: &word, into: &ids) }
    switch UncasedNormalizer.Kind(rawValue: normalizer.kinds[Int(scalar)])! {
    case .punctuation:
      finish(&word, into: &ids)
      word.append(scalar)
      finish(&word, into: &ids)
    case .keptNonstarter:
      word.insert(mark: scalar, combiningClass: normalizer.combiningClass(of: scalar))
    default:
      word.append(scalar)
    }
  }

  private func specialToken(_ bytes: UnsafeBufferPointer<UInt8>, at index: Int) -> (id: Int32, length: Int)? {
    for token in special
    where index + token.bytes.count <= bytes.count
      && (0..<token.bytes.count).allSatisfy({ bytes[index + $0] == token.bytes[$0] })
    {
      return (token.id, token.bytes.count)
    }
    return nil
  }

  /// The scalar at `index` and its length in bytes; U+FFFD, which normalisation removes, for a byte that is not UTF-8.
  private static func decode(_ bytes: UnsafeBufferPointer<UInt8>, at index: Int) -> (UInt32, Int) {
    let first = bytes[index]
    let length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
    guard first >= 0xC2, first < 0xF5, index + length <= bytes.count else { return (0xFFFD, 1) }
    var scalar = UInt32(first) & (length == 2 ? 0x1F : length == 3 ? 0x0F : 0x07)
    for offset in 1..<length {
      let next = bytes[index + offset]
      guard next & 0xC0 == 0x80 else { return (0xFFFD, 1) }
      scalar = scalar << 6 | UInt32(next & 0x3F)
    }
    let smallest: UInt32 = length == 2 ? 0x80 : length == 3 ? 0x800 : 0x10000
    guard scalar >= smallest, Unicode.Scalar(scalar) != nil else { return (0xFFFD, 1) }
    return (scalar, length)
  }
}
