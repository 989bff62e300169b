import DurableFiles
import Foundation

/// Tokenises line by line: `bipft corpus encode`.
public struct LineEncoder: Sendable {
  private let tokenizer: WordPieceTokenizer

  public init(vocabulary path: String) throws(CorpusError) {
    tokenizer = WordPieceTokenizer(vocabulary: try Vocabulary(path: path))
  }

  /// Reads a file, standard input where `path` is nil, and hands on the ids of each line, separated by spaces, each line ended
  /// by a line feed, some lines at a time.
  ///
  /// - Throws: `cannotRead`, `invalidUTF8` with the byte of the input; the lines before it have been handed on.
  /// - Cost: memory for a megabyte of text, or the longest line.
  public func encode(_ path: String?, output: ([UInt8]) throws(CorpusError) -> Void) throws(CorpusError) {
    let input = try path.map { path throws(CorpusError) in try .open(path) } ?? InputFile.standardInput()
    var block: [UInt8] = []
    var offset = 0
    var searched = 0
    while true {
      let isAtEnd = try !input.readMore(into: &block)
      if offset == 0, searched == 0, let kind = ForeignFile(block) {
        throw .notPlainText(file: input.path, kind: kind)
      }
      let end =
        isAtEnd ? block.count : block[searched...].lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
      searched = block.count
      if end > 0 {
        try encode(Array(block[..<end]), at: offset, in: input.path, output: output)
        block.removeFirst(end)
        offset += end
        searched = block.count
      }
      if isAtEnd { return }
    }
  }

  /// Encodes whole lines that stand `offset` bytes into the input.
  private func encode(
    _ bytes: [UInt8], at offset: Int, in file: String, output: ([UInt8]) throws(CorpusError) -> Void
  ) throws(CorpusError) {
    let invalid = firstInvalidUTF8(bytes)
    var lines = bytes[..<(invalid ?? bytes.count)].split(
      separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    // What follows the last line feed is a line only if it is not empty, and not one if the input is wrong there.
    if invalid != nil || lines.last?.isEmpty == true { lines.removeLast() }
    var text: [UInt8] = []
    var ids: [Int32] = []
    for line in lines {
      ids.removeAll(keepingCapacity: true)
      line.withUnsafeBufferPointer { tokenizer.encode($0, into: &ids) }
      for (index, id) in ids.enumerated() {
        if index > 0 { text.append(UInt8(ascii: " ")) }
        text.append(contentsOf: String(id).utf8)
      }
      text.append(UInt8(ascii: "\n"))
    }
    if !text.isEmpty { try output(text) }
    if let invalid { throw .invalidUTF8(file: file, byte: offset + invalid) }
  }
}
