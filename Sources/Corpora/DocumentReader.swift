import DurableFiles
import Foundation

/// A document as it stands in an input file, not yet checked.
struct RawDocument: Sendable {
  let file: String
  /// JSON lines: the text is the field of a JSON object.
  let isJSON: Bool
  /// Where it begins in the file: byte from 0, line from 1.
  let byte: Int
  let line: Int
  /// The lines of the document; in JSON lines the one line.
  let bytes: [UInt8]

  /// The text, checked.
  ///
  /// - Throws: `invalidUTF8` with the byte in the file, `invalidUTF8Line`, `malformedJSONLine`.
  func text() throws(CorpusError) -> [UInt8] {
    if let invalid = firstInvalidUTF8(bytes) {
      throw isJSON ? .invalidUTF8Line(file: file, line: line) : .invalidUTF8(file: file, byte: byte + invalid)
    }
    guard isJSON else { return bytes }
    guard let text = try? textOfObject() else { throw .malformedJSONLine(file: file, line: line) }
    return Array(text.utf8)
  }

  /// The string "text" of the JSON object that `bytes` are.
  private func textOfObject() throws(JSONProblem) -> String {
    try JSONReader.read(bytes) { reader throws(JSONProblem) in
      var text: String?
      try reader.object { reader, name throws(JSONProblem) in
        if name == "text" { text = try reader.string() } else { try reader.skip() }
      }
      guard let text else { throw reader.problem("no text") }
      return text
    }
  }
}

/// Reads the documents of text files and JSON lines (names ending in .jsonl) one after the other.
///
/// In text a blank line ends a document. In JSON lines each line is one; blank lines are skipped.
///
/// - Cost: memory for one document and a megabyte.
final class DocumentReader {
  /// Bytes of the files taken so far.
  private(set) var bytesRead = 0

  private let paths: [String]
  private var fileIndex = 0
  private var input: InputFile?
  private var isJSON = false
  private var block: [UInt8] = []
  /// Where the next line begins in `block`, in the file, and its number.
  private var position = 0
  private var byte = 0
  private var line = 1
  private var documentsOfFile = 0

  init(_ paths: [String]) { self.paths = paths }

  /// The next document, nil after the last.
  ///
  /// - Throws: `cannotRead`, `emptyInput`, `noDocuments`.
  func next() throws(CorpusError) -> RawDocument? {
    while fileIndex < paths.count {
      if input == nil { try begin(paths[fileIndex]) }
      if let document = try nextOfFile() {
        documentsOfFile += 1
        return document
      }
      guard documentsOfFile > 0 else {
        throw byte == 0 ? .emptyInput(file: paths[fileIndex]) : .noDocuments(file: paths[fileIndex])
      }
      input = nil
      fileIndex += 1
    }
    return nil
  }

  private func begin(_ path: String) throws(CorpusError) {
    input = try .open(path)
    isJSON = path.hasSuffix(".jsonl")
    block.removeAll(keepingCapacity: true)
    (position, byte, line, documentsOfFile) = (0, 0, 1, 0)
  }

  private func nextOfFile() throws(CorpusError) -> RawDocument? {
    var document: [UInt8] = []
    var (startByte, startLine) = (byte, line)
    while let range = try nextLine() {
      var content = block[range]
      // A byte order mark is no text.
      if line == 1, content.starts(with: [0xEF, 0xBB, 0xBF]) { content = content.dropFirst(3) }
      let isBlank = content.allSatisfy { $0 == 0x20 || ($0 >= 0x09 && $0 <= 0x0D) }
      if !isBlank {
        if document.isEmpty { (startByte, startLine) = (byte + content.startIndex - range.lowerBound, line) }
        document.append(contentsOf: content)
      }
      byte += range.count
      bytesRead += range.count
      position = range.upperBound
      line += 1
      if isJSON ? !isBlank : (isBlank && !document.isEmpty) { break }
    }
    guard !document.isEmpty else { return nil }
    return RawDocument(
      file: paths[fileIndex], isJSON: isJSON, byte: startByte, line: startLine, bytes: document)
  }

  /// The next line with its line feed, as a range of `block`; nil at the end of the file.
  private func nextLine() throws(CorpusError) -> Range<Int>? {
    guard let input else { return nil }
    var searched = position
    while true {
      let found = block.withUnsafeBytes { bytes -> Int? in
        guard searched < bytes.count, let base = bytes.baseAddress else { return nil }
        return memchr(base + searched, 0x0A, bytes.count - searched).map { UnsafeRawPointer($0) - base }
      }
      if let found { return position..<found + 1 }
      block.removeFirst(position)
      position = 0
      searched = block.count
      if try !input.readMore(into: &block) {
        return block.isEmpty ? nil : 0..<block.count
      }
    }
  }
}
