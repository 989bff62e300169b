import ArgumentParser
import BinaryInference
import Corpora
import DurableFiles
import Foundation
import Kernels

/// `bipft fill-mask MODEL`
struct FillMaskCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fill-mask", abstract: "Guess the words at [MASK] in each line of standard input.",
    discussion: """
      Prints one JSON object a line: line (from 1) and masks, each with its position among the tokens ([CLS] is 0) and the \
      likeliest words: token, id, logit, probability.

        echo 'The capital of France is [MASK].' | bipft fill-mask model.bipft
      """)

  @Argument(help: ArgumentHelp("A file that bipft export made, with --head mlm.", valueName: "model"))
  var model: String

  @Option(help: "Words for each mask.")
  var top = 5

  func validate() throws {
    if top < 1 { throw ValidationError("--top \(top): use 1 or more") }
  }

  func run() throws {
    let use = try ModelUse(model)
    guard use.model.head == .words else {
      throw ModelUse.ending("\(model): \(BinaryModelError.noHead(wanted: .words))")
    }
    try use.eachLine { number, tokens throws(BinaryModelError) in
      let masks = try use.model.fillMask(tokens, top: top).map { mask in
        let guesses = mask.guesses.map { guess in
          JSONText.object([
            ("token", JSONText.quoted(guess.text)), ("id", "\(guess.token)"),
            ("logit", JSONText.number(guess.logit)), ("probability", JSONText.number(guess.probability)),
          ])
        }
        return JSONText.object([
          ("position", "\(mask.position)"), ("guesses", "[\(guesses.joined(separator: ", "))]"),
        ])
      }
      return JSONText.object([("line", "\(number)"), ("masks", "[\(masks.joined(separator: ", "))]")])
    }
  }
}

/// `bipft embed MODEL`
struct EmbedCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "embed", abstract: "Turn each line of standard input into a vector.",
    discussion: """
      Prints one JSON object a line: line (from 1) and embedding, the mean of the last hidden states of all tokens ([CLS] \
      and [SEP] included), of length 1.
      """)

  @Argument(help: ArgumentHelp("A file that bipft export made.", valueName: "model"))
  var model: String

  func run() throws {
    let use = try ModelUse(model)
    try use.eachLine { number, tokens throws(BinaryModelError) in
      let numbers = try use.model.embed(tokens).map { JSONText.number($0) }
      return JSONText.object([
        ("line", "\(number)"), ("embedding", "[\(numbers.joined(separator: ", "))]"),
      ])
    }
  }
}

/// A packed model with its tokeniser, at work on lines of text.
struct ModelUse {
  let model: BinaryModel
  private let tokenizer: WordPieceTokenizer

  init(_ path: String) throws {
    do {
      model = try BinaryModel(path: path, instructionSet: InstructionSet.name)
      tokenizer = WordPieceTokenizer(
        vocabulary: try Vocabulary(model.vocabulary.fileBytes, file: "\(path), vocabulary"))
    } catch let error as BinaryModelError {
      throw Self.ending("\(path): \(error)")
    } catch {
      throw Self.ending("\(error)")
    }
  }

  /// Writes a line to standard error; the exit code, 78 unless told otherwise, says not to try again.
  static func ending(_ line: String, code: Int32 = 78) -> ExitCode {
    FileHandle.standardError.write(Data("bipft: \(line)\n".utf8))
    return ExitCode(code)
  }

  /// Prints what `answer` makes of the tokens of each line of standard input, [CLS] and [SEP] around them, line by line.
  func eachLine(_ answer: (Int, [Int32]) throws(BinaryModelError) -> String) throws {
    var number = 0
    do {
      var lines = InputLines(.standardInput())
      while let line = try lines.next() {
        number += 1
        let tokens = [model.vocabulary.classification] + tokenizer.encode(line) + [model.vocabulary.separator]
        try writeStandardOutput(Array((answer(number, tokens) + "\n").utf8))
      }
    } catch let error as CorpusError {
      throw Self.ending("\(error)", code: error.exitCode)
    } catch {
      throw Self.ending(number == 0 ? "\(error)" : "standard input, line \(number): \(error)")
    }
  }
}

/// The lines of an input, one by one: each is answered before the next is waited for.
private struct InputLines {
  private let input: InputFile
  private var block: [UInt8] = []
  /// The first byte of the next line in `block`, how far a line end was looked for, and bytes of the input before `block`.
  private var start = 0
  private var searched = 0
  private var offset = 0

  init(_ input: InputFile) { self.input = input }

  /// The next line without its end; nil at the end of the input.
  ///
  /// - Throws: `FileError`; `CorpusError.invalidUTF8`.
  mutating func next() throws -> String? {
    while true {
      if let end = block[searched...].firstIndex(of: UInt8(ascii: "\n")) {
        defer { (start, searched) = (end + 1, end + 1) }
        return try text(start..<end)
      }
      offset += start
      block.removeFirst(start)
      (start, searched) = (0, block.count)
      if try input.read(into: &block, atMost: 1 << 16) == 0 {
        if block.isEmpty { return nil }
        defer {
          offset += block.count
          block = []
          searched = 0
        }
        return try text(0..<block.count)
      }
    }
  }

  private func text(_ range: Range<Int>) throws -> String {
    let line = Array(block[range])
    do { return String(copying: try UTF8Span(validating: line.span)) } catch {
      throw CorpusError.invalidUTF8(
        file: input.path, byte: offset + range.lowerBound + error.byteOffsets.lowerBound)
    }
  }
}
