import ArgumentParser
import Corpora
import Foundation

/// `bipft corpus …`
struct CorpusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "corpus", abstract: "Build and inspect corpora.",
    subcommands: [Build.self, Demo.self, Encode.self, Info.self, Adopt.self])

  struct Build: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Tokenise text into a corpus.",
      discussion: """
        Input is UTF-8 text, one paragraph a line and a blank line between documents, or JSON lines: one object a line with \
        the document in its field "text". --format auto takes files named .jsonl, .ndjson, .jsonlines or .json (in any case), \
        and those that begin as a JSON object does, as JSON lines, and says so.

        Text that is not UTF-8, or a line that is no JSON object with a string "text", ends the build. --on-invalid skip leaves \
        such documents out; replace puts U+FFFD for what is not UTF-8 and for halves of surrogate pairs, takes lines with NaN, \
        and leaves out what has no text to mend. Both count them and name the first ten by file and line.

        More than 5 % of [UNK] gives a warning: the vocabulary does not know the text.
        """)

    @Option(parsing: .upToNextOption, help: "Files of text or JSON lines.")
    var input: [String]
    @Option(help: "WordPiece vocabulary, one token a line.")
    var vocab: String
    @Option(help: "Folder to create.")
    var output: String
    @Option(help: "Share of the documents that is held out for evaluation.")
    var heldOut = 0.01
    @Option(help: "Close a shard when it has this many tokens.")
    var shardTokens = 16_777_216
    @Option(help: "Chooses the held-out documents.")
    var seed: UInt64 = 0
    @Option(help: "How text stands in the files: \(choices(TextFormat.self)).")
    var format = TextFormat.auto
    @Option(help: "What happens to invalid documents: \(choices(InvalidText.self)).")
    var onInvalid = InvalidText.fail
    @Flag(help: "Replace an earlier corpus in the output folder.")
    var overwrite = false

    func run() throws {
      try reportingErrors { () throws(CorpusError) in
        let interrupt = Interrupt()
        let progress = BuildProgress()
        defer { progress.clear() }
        let builder = CorpusBuilder(
          inputs: input, vocabulary: vocab, output: output, heldOut: heldOut, shardTokens: shardTokens,
          seed: seed,
          overwrite: overwrite, format: format, invalid: onInvalid)
        var notes: [String] = []
        let corpus = try builder.build(
          progress: progress.show, isInterrupted: { interrupt.isRequested }, note: { notes.append($0) })
        progress.clear()
        for line in notes { print(line) }
        print("corpus in \(output)")
        try show(CorpusSummary(corpus))
      }
    }
  }

  struct Encode: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the token ids of each line of text on one line.")

    @Option(help: "WordPiece vocabulary, one token a line.")
    var vocab: String
    @Option(help: "Text file; standard input if left out.")
    var input: String?

    func run() throws {
      try reportingErrors { () throws(CorpusError) in
        try LineEncoder(vocabulary: vocab).encode(input, output: writeStandardOutput)
      }
    }
  }

  struct Info: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show what a corpus holds.")

    @Argument(help: "Corpus folder.")
    var directory: String
    @Flag(help: "Read everything and check digests and tokens.")
    var verify = false
    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
      try reportingErrors { () throws(CorpusError) in
        let corpus = try Corpus(directory: directory)
        if verify { try corpus.verify() }
        let summary = try CorpusSummary(corpus)
        if json {
          print(summary.json)
        } else {
          for line in summary.table + [""] { print(line) }
          show(summary)
          if verify { print("verified: all files have their digests, all tokens are in the vocabulary") }
        }
      }
    }
  }

  struct Adopt: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a corpus of a folder of Megatron-LM .bin and .idx files, in place.")

    @Argument(help: "Folder with the shards.")
    var directory: String
    @Option(help: "The WordPiece vocabulary that they were tokenised with.")
    var vocab: String
    @Option(help: "Shards whose names begin so are held out.")
    var heldOutPrefix = "held-out"

    func run() throws {
      try reportingErrors { () throws(CorpusError) in
        let corpus = try Corpus.adopt(directory: directory, vocabulary: vocab, heldOutPrefix: heldOutPrefix)
        print("corpus in \(directory)")
        try show(CorpusSummary(corpus))
      }
    }
  }
}

extension TextFormat: ExpressibleByArgument {}
extension InvalidText: ExpressibleByArgument {}

/// The values of an option.
private func choices<Choice: CaseIterable & RawRepresentable>(_: Choice.Type) -> String
where Choice.RawValue == String {
  Choice.allCases.map(\.rawValue).joined(separator: ", ")
}

/// Prints a corpus' totals, and on standard error what is wrong with it.
private func show(_ summary: CorpusSummary) {
  for line in summary.lines { print(line) }
  for line in summary.warnings { FileHandle.standardError.write(Data("bipft: \(line)\n".utf8)) }
}

/// Turns a `CorpusError` into its line on standard error and its exit code.
func reportingErrors(_ body: () throws(CorpusError) -> Void) throws {
  do throws(CorpusError) {
    try body()
  } catch {
    FileHandle.standardError.write(Data("bipft: \(error)\n".utf8))
    throw ExitCode(error.exitCode)
  }
}
