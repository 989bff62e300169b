import DurableFiles

/// A Megatron-LM indexed dataset, memory-mapped: tokenised sequences grouped into documents.
///
/// Layout (Megatron-LM, `megatron/core/datasets/indexed_dataset.py`), all little endian: NAME.bin holds the token ids of all
/// sequences one after the other. NAME.idx holds the 9 bytes `MMIDIDX\0\0`; the version 1 (UInt64); the type code (UInt8:
/// 4 = Int32, 8 = UInt16); the number of sequences S (UInt64) and of document bounds D + 1 (UInt64); S lengths in tokens
/// (Int32); S byte offsets into NAME.bin (Int64); D + 1 document bounds (Int64): document d holds the sequences
/// bound[d] ..< bound[d + 1].
public final class IndexedDataset: Sendable {
  /// How token ids are stored; the raw values are Megatron-LM's type codes.
  public enum TokenType: UInt8, Sendable {
    case int32 = 4
    case uint16 = 8

    /// Bytes a token.
    public var width: Int { self == .int32 ? 4 : 2 }

    /// The narrowest type for a vocabulary, as Megatron-LM chooses it.
    init(vocabulary count: Int) { self = count <= 65_535 ? .uint16 : .int32 }
  }

  static let magic: [UInt8] = Array("MMIDIDX".utf8) + [0, 0]
  static let version: UInt64 = 1
  static let headerSize = 9 + 8 + 1 + 8 + 8

  public let sequenceCount: Int
  public let documentCount: Int
  public let tokenCount: Int
  public let tokenType: TokenType
  /// Path of the .bin file.
  public var binPath: String { bin.path }
  /// Path of the .idx file.
  public var idxPath: String { idx.path }

  let bin: MappedFile
  private let idx: MappedFile

  /// Opens and checks a pair. `prefix` is the path without .bin and .idx.
  ///
  /// - Throws: `cannotRead`, `damagedIndex`, `emptySequence`, `multimodalIndex`, `unsupportedTokenType`, `wrongSize` for the file that is too short or too long.
  /// - Cost: reads the whole .idx once.
  public init(prefix: String) throws(CorpusError) {
    (idx, bin) = try reading { () throws(FileError) in
      (try MappedFile(path: prefix + ".idx"), try MappedFile(path: prefix + ".bin"))
    }
    let path = idx.path
    guard idx.count >= Self.headerSize else {
      throw .wrongSize(file: path, expected: Self.headerSize, found: idx.count)
    }
    for (offset, byte) in Self.magic.enumerated() where idx.integer(at: offset, as: UInt8.self) != byte {
      throw .damagedIndex(file: path, reason: "it does not begin with MMIDIDX")
    }
    let version = idx.integer(at: 9, as: UInt64.self)
    guard version == Self.version else {
      throw .damagedIndex(file: path, reason: "its version is \(version), not 1")
    }
    let code = idx.integer(at: 17, as: UInt8.self)
    guard let type = TokenType(rawValue: code) else {
      throw .unsupportedTokenType(file: path, code: Int(code))
    }
    tokenType = type
    let sequences = idx.integer(at: 18, as: UInt64.self)
    let bounds = idx.integer(at: 26, as: UInt64.self)
    guard sequences <= UInt32.max, bounds >= 1, bounds <= UInt32.max else {
      throw .damagedIndex(
        file: path, reason: "it counts \(sequences) sequences and \(bounds) document bounds")
    }
    sequenceCount = Int(sequences)
    documentCount = Int(bounds) - 1
    let expected = Self.indexSize(sequences: sequenceCount, documents: documentCount)
    guard idx.count == expected else {
      // A multimodal index ends with a byte a sequence.
      if sequenceCount > 0, idx.count == expected + sequenceCount { throw .multimodalIndex(file: path) }
      throw .wrongSize(file: path, expected: expected, found: idx.count)
    }

    var tokens = 0
    for sequence in 0..<sequenceCount {
      let length = idx.integer(at: Self.headerSize + 4 * sequence, as: Int32.self)
      guard length != 0 else { throw .emptySequence(file: path, sequence: sequence) }
      // Beyond 2⁶⁰ tokens no byte offset could be counted.
      guard length > 0, tokens < 1 << 60 else {
        throw .damagedIndex(file: path, reason: "sequence \(sequence) has \(length) tokens")
      }
      let offset = idx.integer(at: Self.headerSize + 4 * sequenceCount + 8 * sequence, as: Int64.self)
      guard offset == Int64(tokens * type.width) else {
        throw .damagedIndex(
          file: path,
          reason: "sequence \(sequence) begins at byte \(offset) instead of \(tokens * type.width)")
      }
      tokens += Int(length)
    }
    tokenCount = tokens
    guard bin.count == tokens * type.width else {
      throw .wrongSize(file: bin.path, expected: tokens * type.width, found: bin.count)
    }
    var previous: Int64 = 0
    for bound in 0...documentCount {
      let place = Self.headerSize + 12 * sequenceCount + 8 * bound
      let value = idx.integer(at: place, as: Int64.self)
      guard value >= previous else {
        throw .damagedIndex(file: path, reason: "document bound \(bound) is \(value), below \(previous)")
      }
      guard bound > 0 || value == 0 else {
        throw .damagedIndex(file: path, reason: "its documents begin at sequence \(value) instead of 0")
      }
      previous = value
    }
    guard previous == Int64(sequenceCount) else {
      throw .damagedIndex(
        file: path, reason: "its documents end at sequence \(previous) instead of \(sequenceCount)")
    }
  }

  /// Bytes of an .idx file.
  static func indexSize(sequences: Int, documents: Int) -> Int {
    headerSize + 12 * sequences + 8 * (documents + 1)
  }

  /// Number of tokens of a sequence.
  public func length(of sequence: Int) -> Int {
    precondition(sequence >= 0 && sequence < sequenceCount, "sequence \(sequence) of \(sequenceCount)")
    return Int(idx.integer(at: Self.headerSize + 4 * sequence, as: Int32.self))
  }

  /// Where the tokens of a sequence stand among those of the .bin file.
  ///
  /// - Throws: `changedWhileOpen` where the index no longer says what it said when it was opened and checked.
  func tokenRange(of sequence: Int) throws(CorpusError) -> Range<Int> {
    let offset = idx.integer(at: Self.headerSize + 4 * sequenceCount + 8 * sequence, as: Int64.self)
    let length = length(of: sequence)
    let start = Int(offset) / tokenType.width
    guard offset >= 0, length > 0, start <= tokenCount - length else {
      throw .changedWhileOpen(file: idxPath)
    }
    return start..<start + length
  }

  /// The sequence that holds a token, `token` in 0 ..< tokenCount.
  ///
  /// - Cost: log₂ sequenceCount look-ups.
  func sequence(holding token: Int) -> Int {
    var (low, high) = (0, sequenceCount)
    while low < high {
      let middle = (low + high) / 2
      let offset = idx.integer(at: Self.headerSize + 4 * sequenceCount + 8 * middle, as: Int64.self)
      if offset > Int64(token * tokenType.width) { high = middle } else { low = middle + 1 }
    }
    return low - 1
  }

  /// The sequences of a document.
  public func sequences(of document: Int) -> Range<Int> {
    precondition(document >= 0 && document < documentCount, "document \(document) of \(documentCount)")
    let place = Self.headerSize + 12 * sequenceCount + 8 * document
    let lower = Int(idx.integer(at: place, as: Int64.self))
    let upper = Int(idx.integer(at: place + 8, as: Int64.self))
    // An index that has been changed since it was checked may say anything.
    return lower >= 0 && lower <= upper && upper <= sequenceCount ? lower..<upper : 0..<0
  }

  /// Appends the tokens that stand at `range` in the .bin file to `tokens`.
  func append(_ range: Range<Int>, to tokens: inout [Int32]) {
    switch tokenType {
    case .int32:
      for index in range { tokens.append(bin.integer(at: 4 * index, as: Int32.self)) }
    case .uint16:
      for index in range { tokens.append(Int32(bin.integer(at: 2 * index, as: UInt16.self))) }
    }
  }

  /// The tokens that stand at `range` in the .bin file.
  ///
  /// - Throws: `tokenOutOfRange` for the first one that the vocabulary lacks.
  func tokens(_ range: Range<Int>, of vocabulary: Vocabulary) throws(CorpusError) -> [Int32] {
    var tokens: [Int32] = []
    tokens.reserveCapacity(range.count)
    append(range, to: &tokens)
    let count = UInt32(vocabulary.count)
    for (index, token) in tokens.enumerated() where UInt32(bitPattern: token) >= count {
      throw .tokenOutOfRange(
        file: binPath, sequence: sequence(holding: range.lowerBound + index), token: Int(token),
        vocabulary: vocabulary.count)
    }
    return tokens
  }

  /// Throws `wrongSize` if either file was cut off or has grown since it was opened.
  /// Call it after reading: what was read is then what the files held.
  ///
  /// - Cost: two system calls.
  func checkSizes() throws(CorpusError) {
    for file in [bin, idx] {
      let size = try reading { () throws(FileError) in try fileSize(file.path) }
      if size != file.count { throw .wrongSize(file: file.path, expected: file.count, found: size) }
    }
  }

  /// The tokens of a sequence.
  ///
  /// - Throws: `changedWhileOpen`.
  public func tokens(of sequence: Int) throws(CorpusError) -> [Int32] {
    var tokens: [Int32] = []
    append(try tokenRange(of: sequence), to: &tokens)
    return tokens
  }
}
