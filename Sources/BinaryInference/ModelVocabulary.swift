import WordPiece

/// The tokens of a model's vocabulary, by their ids. Continuations of a word are written `##piece`.
public struct ModelVocabulary: Sendable {
  /// Ids of [PAD], [UNK], [CLS], [SEP] and [MASK].
  public let padding, unknown, classification, separator, mask: Int32
  let lines: TokenLines

  /// - Parameter text: each token followed by a line feed.
  init(_ text: UnsafeRawBufferPointer, count: Int) throws(BinaryModelError) {
    let bytes = Array(text)
    guard bytes.count < Int(Int32.max), bytes.last == UInt8(ascii: "\n") else {
      throw .vocabulary("it does not end with a line feed")
    }
    do { _ = try UTF8Span(validating: bytes.span) } catch {
      throw .vocabulary("byte \(error.byteOffsets.lowerBound) is not UTF-8")
    }
    var starts: [Int32] = [0]
    starts.reserveCapacity(count + 1)
    for index in bytes.indices where bytes[index] == UInt8(ascii: "\n") { starts.append(Int32(index + 1)) }
    guard starts.count == count + 1 else {
      throw .vocabulary("it has \(starts.count - 1) tokens, the model \(count)")
    }
    let lines = TokenLines(bytes, starts: starts)
    func special(_ token: String) throws(BinaryModelError) -> Int32 {
      let wanted = Array(token.utf8)
      for id in 0..<count where lines[id].elementsEqual(wanted) { return Int32(id) }
      throw .vocabulary("it has no token \(token)")
    }
    padding = try special("[PAD]")
    unknown = try special("[UNK]")
    classification = try special("[CLS]")
    separator = try special("[SEP]")
    mask = try special("[MASK]")
    self.lines = lines
  }

  /// Number of tokens.
  public var count: Int { lines.count }

  /// The text of a token, `id` in 0 ..< count.
  public func token(_ id: Int32) -> String {
    precondition(id >= 0 && id < count, "token \(id) of a vocabulary of \(count)")
    return String(decoding: lines[Int(id)], as: UTF8.self)
  }

  /// All tokens, each followed by a line feed: UTF-8, as a tokeniser's vocabulary file.
  public var fileBytes: [UInt8] { lines.bytes }
}
