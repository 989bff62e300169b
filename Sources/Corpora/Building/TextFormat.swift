import DurableFiles

/// How text stands in a file.
public enum TextFormat: String, CaseIterable, Sendable {
  /// What the file's name and first bytes tell.
  case auto
  /// A line is a paragraph, a blank line ends a document.
  case text
  /// A line is a JSON object, the document its string "text".
  case jsonl

  /// What people call files of JSON lines, in any case. Megatron-LM asks for .json.
  private static let namesOfJSONLines = [".jsonl", ".ndjson", ".jsonlines", ".json"]

  /// The format of a file named `path` that begins with `first`, a megabyte of it or all: `text` or `jsonl`.
  ///
  /// With `auto` names of JSON tell, and so does the beginning of a JSON object, whatever the name.
  ///
  /// - Throws: `notPlainText` for what is compressed, in another encoding, or no text; `wholeJSON` for JSON not in lines.
  static func recognise(
    _ path: String, _ first: [UInt8], wanted: TextFormat
  ) throws(CorpusError) -> TextFormat {
    if let kind = ForeignFile(first) { throw .notPlainText(file: path, kind: kind) }
    if wanted == .text { return .text }
    let name = path.lowercased()
    let isNamedSo = wanted == .jsonl || namesOfJSONLines.contains { name.hasSuffix($0) }
    var content = first[...]
    if content.starts(with: [0xEF, 0xBB, 0xBF]) { content = content.dropFirst(3) }
    content = content.drop { isSpace($0) }
    let line = content.prefix { $0 != UInt8(ascii: "\n") }
    let isAlone = line.dropFirst().allSatisfy { isSpace($0) }
    if isNamedSo {
      if line.first == UInt8(ascii: "[") || line.first == UInt8(ascii: "{") && isAlone {
        throw .wholeJSON(file: path)
      }
      return .jsonl
    }
    // No text begins so; whether the rest of the line is valid is for `--on-invalid`.
    if beginsObject(content) {
      if isAlone { throw .wholeJSON(file: path) }
      return .jsonl
    }
    if line.first == UInt8(ascii: "["), beginsObject(content.dropFirst().drop { isSpace($0) }) {
      throw .wholeJSON(file: path)
    }
    return .text
  }

  /// `{ "name" :`, the beginning of a JSON object that has members.
  private static func beginsObject(_ content: ArraySlice<UInt8>) -> Bool {
    guard content.first == UInt8(ascii: "{") else { return false }
    var rest = content.dropFirst().drop { isSpace($0) }
    guard rest.popFirst() == UInt8(ascii: "\"") else { return false }
    while let byte = rest.popFirst(), byte != UInt8(ascii: "\"") {
      if byte == UInt8(ascii: "\n") { return false }
      if byte == UInt8(ascii: "\\") { _ = rest.popFirst() }
    }
    return rest.drop { isSpace($0) }.first == UInt8(ascii: ":")
  }
}

/// White space of ASCII.
func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (byte >= 0x09 && byte <= 0x0D) }

/// A file that is no plain text, known by its first bytes.
public enum ForeignFile: Equatable, Sendable {
  case compressed(with: String, undo: String)
  case encoded(String)
  case archive(String)
  case table(String)
  case gitPointer

  init?(_ first: [UInt8]) {
    func begins(_ bytes: [UInt8]) -> Bool { first.starts(with: bytes) }
    // bzip2's header is followed by the digits of pi.
    let pi: [UInt8] = [0x31, 0x41, 0x59, 0x26, 0x53, 0x59]
    if begins([0x1F, 0x8B]) {
      self = .compressed(with: "gzip", undo: "gunzip -k")
    } else if begins([0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00]) {
      self = .compressed(with: "xz", undo: "unxz -k")
    } else if begins([0x28, 0xB5, 0x2F, 0xFD]) {
      self = .compressed(with: "zstd", undo: "unzstd")
    } else if begins(Array("BZh".utf8)), first.dropFirst(4).starts(with: pi) {
      self = .compressed(with: "bzip2", undo: "bunzip2 -k")
    } else if begins([0x04, 0x22, 0x4D, 0x18]) {
      self = .compressed(with: "lz4", undo: "unlz4")
    } else if begins([0x50, 0x4B, 0x03, 0x04]) {
      self = .archive("zip")
    } else if first.dropFirst(257).starts(with: Array("ustar".utf8)) {
      self = .archive("tar")
    } else if begins(Array("PAR1".utf8)) {
      self = .table("Parquet")
    } else if begins(Array("ARROW1".utf8)) {
      self = .table("Arrow")
    } else if begins([0xFF, 0xFE, 0, 0]) || begins([0, 0, 0xFE, 0xFF]) {
      self = .encoded("UTF-32")
    } else if begins([0xFF, 0xFE]) || begins([0xFE, 0xFF]) {
      self = .encoded("UTF-16")
    } else if begins(Array("version https://git-lfs.github.com/spec/".utf8)) {
      self = .gitPointer
    } else {
      return nil
    }
  }

  /// What `file` is and what to do, as the end of a sentence.
  func remedy(_ file: String) -> String {
    switch self {
    case .compressed(let program, let undo):
      "is compressed with \(program); give the decompressed file (\(undo) \(file))"
    case .encoded(let name): "is \(name); convert the file to UTF-8 (iconv -f \(name) -t UTF-8) and try again"
    case .archive(let kind): "is a \(kind) archive; unpack it and give the files in it"
    case .table(let kind): "is a file of \(kind); write its text as JSON lines and give those"
    case .gitPointer: "is a Git LFS pointer, not the file itself; fetch that with `git lfs pull`"
    }
  }
}
