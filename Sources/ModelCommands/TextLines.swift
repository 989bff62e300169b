import ArgumentParser
import BinaryInference
import DurableFiles
import Glibc
import Kernels

/// How the commands that use a packed model read lines of text.
struct LineOptions: ParsableArguments {
  @Flag(help: "A line is two texts with a tab between them. Without this a tab is a space like others.")
  var pairs = false

  @Flag(
    help: """
      A text that is too long loses its end, of two the longer one first; the answer says how many tokens in cut. Without \
      this it is an error.
      """)
  var truncate = false
}

/// A packed model with its tokeniser, at work on lines of text.
public struct ModelUse {
  let path: String
  let model: BinaryModel
  private let encoder: TextEncoder

  init(_ path: String) throws {
    self.path = path
    do throws(BinaryModelError) {
      model = try BinaryModel(path: path, instructionSet: InstructionSet.name)
      encoder = try TextEncoder(model.vocabulary)
    } catch { throw Self.ending("\(path): \(error)") }
  }

  /// Refuses a model without the head that a command asks.
  func require(_ head: ModelHead) throws {
    guard model.head == head else {
      throw Self.ending("\(path): \(BinaryModelError.noHead(wanted: head))")
    }
  }

  /// Writes a line to standard error; the exit code, 78 unless told otherwise, says not to try again.
  public static func ending(_ line: String, code: Int32 = 78) -> ExitCode {
    try? writeAll(Array("bipft: \(line)\n".utf8), to: STDERR_FILENO, path: "standard error")
    return ExitCode(code)
  }

  /// One line as a model reads it: `[CLS] a [SEP]`, or `[CLS] a [SEP] b [SEP]`.
  struct Line {
    /// From 1.
    let number: Int
    let tokens: [Int32]
    let segments: [Int32]
    /// Tokens of its texts that there was no room for.
    let cut: Int

    /// An answer as one object of JSON: the line's number, `members`, and what was cut, if anything.
    func answer(_ members: [(name: String, value: String)]) -> String {
      JSONText.object(
        [("line", "\(number)")] + members + (cut > 0 ? [("cut", "\(cut)")] : []))
    }
  }

  /// Calls `body` with each line of standard input, as it comes.
  ///
  /// - Parameters:
  ///   - texts: how many a line holds; two are separated by a tab.
  ///   - limit: the most tokens of a sequence, to which its texts are cut; nil cuts nothing.
  /// - Throws: `ExitCode`, after a line on standard error that names the input's line.
  func eachLine(
    texts: Int, limit: Int?, _ body: (Line) throws -> Void
  ) throws {
    var lines = TextLines(.standardInput())
    do {
      while let text = try lines.next() {
        let parts = try parts(of: text, texts: texts)
        let encoded = encoder.encode(parts[0], parts.dropFirst().first, limit: limit)
        try body(
          Line(
            number: lines.count, tokens: encoded.tokens, segments: encoded.segments, cut: encoded.cut))
      }
    } catch let error as LineFault {
      throw Self.ending("standard input, line \(lines.count): \(error)")
    } catch let error as BinaryModelError {
      throw Self.ending("standard input, line \(lines.count): \(error)")
    } catch let error as ExitCode {
      throw error
    } catch {
      throw Self.ending("\(error)", code: 70)
    }
  }

  /// `eachLine` for a command with `options`.
  func eachLine(_ options: LineOptions, _ body: (Line) throws -> Void) throws {
    try eachLine(
      texts: options.pairs ? 2 : 1, limit: options.truncate ? model.shape.maximumLength : nil, body)
  }

  private func parts(of line: String, texts: Int) throws(LineFault) -> [String] {
    if texts == 1 { return [line] }
    let parts = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 2 else { throw .texts(found: parts.count) }
    return parts
  }
}

/// Writes a line to standard output at once: an answer is read before the next question is asked.
func printLine(_ line: String) throws(FileError) {
  try writeAll(Array("\(line)\n".utf8), to: STDOUT_FILENO, path: "standard output")
}

/// What can be wrong with a line before a model reads it.
enum LineFault: Error, CustomStringConvertible {
  case texts(found: Int)
  /// From 1.
  case notUTF8(byte: Int)

  var description: String {
    switch self {
    case .texts(let found):
      "\(found) \(found == 1 ? "text" : "texts"), wanted two with one tab between them"
    case .notUTF8(let byte): "byte \(byte) of the line is not UTF-8; convert the text (iconv -t UTF-8)"
    }
  }
}

/// The lines of an input, one by one: each is answered before the next is waited for.
struct TextLines {
  private let input: InputFile
  private var block: [UInt8] = []
  /// The first byte of the next line in `block`, and how far a line end was looked for.
  private var start = 0
  private var searched = 0
  /// Lines begun so far.
  private(set) var count = 0

  init(_ input: InputFile) { self.input = input }

  /// The next line without its end (a carriage return before it is part of that); nil at the end of the input.
  ///
  /// - Throws: `FileError`; `LineFault.notUTF8`.
  mutating func next() throws -> String? {
    while true {
      if let end = block[searched...].firstIndex(of: UInt8(ascii: "\n")) {
        defer { (start, searched) = (end + 1, end + 1) }
        return try text(start..<end)
      }
      block.removeFirst(start)
      (start, searched) = (0, block.count)
      if try input.read(into: &block, atMost: 1 << 16) == 0 {
        if block.isEmpty { return nil }
        defer {
          block = []
          searched = 0
        }
        return try text(0..<block.count)
      }
    }
  }

  private mutating func text(_ range: Range<Int>) throws(LineFault) -> String {
    count += 1
    var line = Array(block[range])
    if line.last == UInt8(ascii: "\r") { line.removeLast() }
    do { return String(copying: try UTF8Span(validating: line.span)) } catch {
      throw .notUTF8(byte: 1 + error.byteOffsets.lowerBound)
    }
  }
}
