import DurableFiles
import Foundation
import WordPiece

/// A WordPiece vocabulary: one token a line, its id the line's index, continuations written `##piece`.
///
/// A byte order mark is no part of the first token, and a carriage return none of any. A blank line keeps its id but holds no
/// token; those at the end count for nothing.
public struct Vocabulary: Sendable {
  /// Number of tokens.
  public var count: Int { tokens.count }
  /// Ids of [PAD], [UNK], [CLS], [SEP] and [MASK].
  public let padding, unknown, classification, separator, mask: Int32
  /// SHA-256 of the file, 64 hexadecimal digits.
  public let digest: String
  /// The file's content, as it is copied into a corpus.
  let bytes: [UInt8]

  let tokens: [String]
  /// Keyed by UTF-8: Swift compares strings by canonical equivalence, which would make two tokens one.
  private let ids: [[UInt8]: Int32]

  /// Reads a vocabulary.
  ///
  /// - Throws: `cannotRead`, `notPlainText`, `tokenizerFile`, `invalidUTF8`, `emptyVocabulary`, `duplicateToken`,
  ///   `missingToken`, `vocabularyTooLarge`.
  public init(path: String) throws(CorpusError) {
    try self.init(reading { () throws(FileError) in try readFile(path) }, file: path)
  }

  /// The same of bytes in memory; `path` is their name in errors.
  public init(_ bytes: [UInt8], file path: String) throws(CorpusError) {
    if let kind = ForeignFile(bytes) { throw .notPlainText(file: path, kind: kind) }
    if let byte = firstInvalidUTF8(bytes) { throw .invalidUTF8(file: path, byte: byte) }
    if Self.isJSON(bytes) { throw .tokenizerFile(file: path) }
    let hasMark = bytes.starts(with: [0xEF, 0xBB, 0xBF])
    var lines = bytes[(hasMark ? 3 : 0)...].split(
      separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    while let last = lines.last, last.isEmpty || last.elementsEqual([UInt8(ascii: "\r")]) {
      lines.removeLast()
    }
    guard !lines.isEmpty else { throw .emptyVocabulary(file: path) }
    var tokens: [String] = []
    var ids: [[UInt8]: Int32] = [:]
    tokens.reserveCapacity(lines.count)
    ids.reserveCapacity(lines.count)
    for (index, line) in lines.enumerated() {
      let key = Array(line.last == UInt8(ascii: "\r") ? line.dropLast() : line)
      let token = String(decoding: key, as: UTF8.self)
      if !key.isEmpty, let first = ids.updateValue(Int32(index), forKey: key) {
        throw .duplicateToken(file: path, token: token, line: index + 1, firstLine: Int(first) + 1)
      }
      tokens.append(token)
    }
    var special: [Int32] = []
    for token in WordPieceEncoder.specialTokens {
      guard let id = ids[Array(token.utf8)] else { throw .missingToken(file: path, token: token) }
      special.append(id)
    }
    (padding, unknown, classification, separator, mask) = (
      special[0], special[1], special[2], special[3], special[4]
    )
    self.bytes = bytes
    self.tokens = tokens
    self.ids = ids
    digest = SHA256.digest(bytes)
    // Fewer bytes make fewer nodes of a trie than there may be.
    if bytes.count >= WordPieceEncoder.beginningsLimit, WordPieceEncoder(TokenLines(tokens)) == nil {
      throw .vocabularyTooLarge(file: path)
    }
  }

  private static func isJSON(_ bytes: [UInt8]) -> Bool {
    guard bytes.first(where: { !isSpace($0) }) == UInt8(ascii: "{") else { return false }
    let found: Void? = try? JSONReader.read(bytes) { reader throws(JSONProblem) in try reader.skip() }
    return found != nil
  }

  /// The text of a token, `id` in 0 ..< count; empty for a blank line.
  public func token(_ id: Int32) -> String {
    precondition(id >= 0 && id < count, "token \(id) of a vocabulary of \(count)")
    return tokens[Int(id)]
  }

  /// All tokens in the order of their ids, each with a line feed.
  public var lines: [UInt8] { tokens.flatMap { Array($0.utf8) + [UInt8(ascii: "\n")] } }

  /// The id of a token, nil where the vocabulary lacks it.
  public func id(of token: String) -> Int32? { ids[Array(token.utf8)] }

  /// The five special ids in ascending order.
  var specialIDs: [Int32] { [padding, unknown, classification, separator, mask].sorted() }
}
