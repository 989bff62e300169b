import DurableFiles

/// What happens to a document that is not valid text.
public enum InvalidText: String, CaseIterable, Sendable {
  /// The build ends, naming file and line.
  case fail
  /// The document is left out, and counted.
  case skip
  /// What is wrong becomes U+FFFD, which no vocabulary takes for text; a line of JSON that has no text to mend is left out. Both
  /// are counted.
  case replace
}

/// What is wrong with a document.
public struct TextFault: Error, Equatable, Sendable, CustomStringConvertible {
  public let file: String
  /// From 1.
  public let line: Int
  public let reason: String

  public var description: String { "\(file), line \(line): \(reason)" }
}

/// A document's text, and what was wrong with it.
struct CheckedText {
  /// Nil where the document is to be left out.
  let bytes: [UInt8]?
  let fault: TextFault?
}

extension RawDocument {
  /// The text, checked.
  ///
  /// - Throws: `invalidText` with the file, the line and what is wrong, where `invalid` is `fail`.
  func text(invalid: InvalidText) throws(CorpusError) -> CheckedText {
    do throws(TextFault) {
      return CheckedText(bytes: try validText(bytes), fault: nil)
    } catch {
      switch invalid {
      case .fail: throw .invalidText(error)
      case .skip: return CheckedText(bytes: nil, fault: error)
      case .replace: return CheckedText(bytes: try? validText(mended()), fault: error)
      }
    }
  }

  private func validText(_ bytes: [UInt8]) throws(TextFault) -> [UInt8] {
    if let byte = firstInvalidUTF8(bytes) {
      let before = bytes[..<byte].count { $0 == UInt8(ascii: "\n") }
      throw TextFault(
        file: file, line: line + before,
        reason: "not UTF-8 (byte \(self.byte + byte) of the file); convert the file to UTF-8 (iconv -t UTF-8)"
      )
    }
    guard isJSON else { return bytes }
    do throws(JSONProblem) { return Array(try textOfObject(bytes).utf8) } catch {
      throw TextFault(file: file, line: line, reason: Self.reason(error, bytes))
    }
  }

  /// The string "text" of the JSON object that `bytes` are; the last, where there are several.
  private func textOfObject(_ bytes: [UInt8]) throws(JSONProblem) -> String {
    try JSONReader.read(bytes) { reader throws(JSONProblem) in
      var (text, hasOther) = (String?.none, false)
      try reader.object { reader, name throws(JSONProblem) in
        let start = reader
        if name == "text", let string = try? reader.string() {
          text = string
        } else {
          // No string, or a faulty one, of which this tells.
          reader = start
          try reader.skip()
          if name == "text" { hasOther = true }
        }
      }
      if let text { return text }
      throw JSONProblem(byte: 0, text: hasOther ? Self.noString : Self.noText)
    }
  }

  private static let noString = "its \"text\" is no string"
  private static let noText = "it has no \"text\""

  private static func reason(_ problem: JSONProblem, _ bytes: [UInt8]) -> String {
    if problem.text == noString || problem.text == noText { return problem.text }
    if let first = bytes.first(where: { !isSpace($0) }), first != UInt8(ascii: "{") {
      return "not a JSON object; each line has to be one, with the document in \"text\""
    }
    let rest = bytes[min(problem.byte, bytes.count)...]
    if let word = words.first(where: { rest.starts(with: $0) }) {
      return "\(String(decoding: word, as: UTF8.self)) at byte \(problem.byte + 1), which JSON does not have"
    }
    return "not JSON: \(problem.text), at byte \(problem.byte + 1) of the line"
  }

  /// What Python writes for numbers that JSON does not have.
  private static let words = ["NaN", "Infinity", "-Infinity"].map { Array($0.utf8) }

  // MARK: Mending

  /// The document with U+FFFD for what is not UTF-8, and, in JSON, for halves of surrogate pairs, and null for NaN and infinity.
  private func mended() -> [UInt8] {
    let valid = Array(String(decoding: bytes, as: UTF8.self).utf8)
    guard isJSON else { return valid }
    var result: [UInt8] = []
    result.reserveCapacity(valid.count)
    var (index, isInString) = (0, false)
    while index < valid.count {
      let byte = valid[index]
      if isInString, byte == UInt8(ascii: "\\") {
        let length = appendEscape(valid, at: index, to: &result)
        index += length
        continue
      }
      if byte == UInt8(ascii: "\"") { isInString.toggle() }
      if !isInString, let word = Self.words.first(where: { valid[index...].starts(with: $0) }) {
        result += Array("null".utf8)
        index += word.count
        continue
      }
      // A line end or tab that stands in a string as it is.
      if isInString, byte < 0x20 { result += Array(" ".utf8) } else { result.append(byte) }
      index += 1
    }
    return result
  }

  /// Appends the escape at `index`, or \ufffd for half of a surrogate pair. Returns how many bytes it takes.
  private func appendEscape(_ bytes: [UInt8], at index: Int, to result: inout [UInt8]) -> Int {
    func unit(_ index: Int) -> UInt32? {
      guard index + 6 <= bytes.count, bytes[index] == UInt8(ascii: "\\"),
        bytes[index + 1] == UInt8(ascii: "u")
      else {
        return nil
      }
      let digits = bytes[index + 2..<index + 6]
      guard digits.allSatisfy({ $0 < 0x80 && Character(Unicode.Scalar($0)).isHexDigit }) else { return nil }
      return UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
    }
    guard let first = unit(index) else {
      let end = min(index + 2, bytes.count)
      result += bytes[index..<end]
      return end - index
    }
    guard (0xD800..<0xE000).contains(first) else {
      result += bytes[index..<index + 6]
      return 6
    }
    if first < 0xDC00, let second = unit(index + 6), (0xDC00..<0xE000).contains(second) {
      result += bytes[index..<index + 12]
      return 12
    }
    result += Array("\\ufffd".utf8)
    return 6
  }
}
