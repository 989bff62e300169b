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
}

/// Reads the documents of text files and JSON lines one after the other.
///
/// In text a blank line ends a document. In JSON lines each line is one; blank lines are skipped.
///
/// - Cost: memory for one document and a megabyte.
final class DocumentReader {
  /// Bytes of the files taken so far.
  private(set) var bytesRead = 0

  /// How each file begun so far is read.
  private(set) var formats: [(file: String, format: TextFormat)] = []

  private let paths: [String]
  private let format: TextFormat
  private var fileIndex = 0
  private var input: InputFile?
  private var isJSON = false
  private var block: [UInt8] = []
  /// Where the next line begins in `block`, in the file, and its number.
  private var position = 0
  private var byte = 0
  private var line = 1
  private var documentsOfFile = 0

  init(_ paths: [String], format: TextFormat) {
    self.paths = paths
    self.format = format
  }

  /// The next document, nil after the last.
  ///
  /// - Throws: `cannotRead`, `emptyInput`, `noDocuments`, what `TextFormat.recognise` throws.
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
    let opened = try InputFile.open(path)
    input = opened
    block.removeAll(keepingCapacity: true)
    (position, byte, line, documentsOfFile) = (0, 0, 1, 0)
    _ = try opened.readMore(into: &block)
    let found = try TextFormat.recognise(path, block, wanted: format)
    isJSON = found == .jsonl
    formats.append((path, found))
  }

  private func nextOfFile() throws(CorpusError) -> RawDocument? {
    var document: [UInt8] = []
    var (startByte, startLine) = (byte, line)
    while let range = try nextLine() {
      var content = block[range]
      // A byte order mark is no text.
      if line == 1, content.starts(with: [0xEF, 0xBB, 0xBF]) { content = content.dropFirst(3) }
      let isBlank = content.allSatisfy { isSpace($0) }
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
