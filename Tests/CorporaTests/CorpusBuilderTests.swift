import Corpora
import Foundation
import Testing

@Suite struct CorpusBuilderTests {
  /// `count` documents of two paragraphs; document i begins with its number.
  static func text(documents count: Int) -> String {
    (0..<count).map { "\($0) is here. It stays.\nA second line of \($0)!\n" }.joined(separator: "\n")
  }

  static let words =
    ["is", "here", ".", "it", "stays", "a", "second", "line", "of", "!"]
    + (0..<60).map { "\($0)" }

  static func builder(
    _ scratch: Scratch, _ inputs: [String], heldOut: Double = 0.2, shardTokens: Int = 1 << 20
  )
    -> CorpusBuilder
  {
    CorpusBuilder(
      inputs: inputs, vocabulary: scratch.writeVocabulary(count: 400, words: words),
      output: scratch.path + "/out", heldOut: heldOut,
      shardTokens: shardTokens, seed: 3)
  }

  /// The documents of a split as texts of their tokens.
  static func documents(_ corpus: Corpus, _ split: CorpusSplit) throws -> [[String]] {
    try corpus.shards(split).flatMap { shard in
      let dataset = try corpus.open(shard)
      return try (0..<dataset.documentCount).map { document in
        try dataset.sequences(of: document).map { sequence in
          try dataset.tokens(of: sequence).map { corpus.vocabulary.token($0) }.joined(separator: " ")
        }
      }
    }
  }

  @Test func everyDocumentInOneSplit() throws {
    let scratch = Scratch()
    let input = scratch.write("a.txt", Self.text(documents: 60))
    let corpus = try Self.builder(scratch, [input], shardTokens: 100).build()
    try corpus.verify()
    let training = try Self.documents(corpus, .training)
    let held = try Self.documents(corpus, .heldOut)
    #expect(training.count + held.count == 60 && held.count > 3 && held.count < 25)
    #expect(Set(training + held).count == 60)
    #expect(training[0].count == 3 && training[0][1] == "it stays .")
    // In the order of the text.
    let numbers = training.compactMap { Int($0[0].prefix { $0 != " " }) }
    #expect(numbers == numbers.sorted() && numbers.count == training.count)
    // A shard ends with the document that reaches the limit.
    let shards = corpus.shards(.training)
    #expect(shards.count > 3 && shards.dropLast().allSatisfy { $0.tokens >= 100 && $0.tokens < 120 })
    #expect(shards[0].name == "train-00000" && corpus.shards(.heldOut)[0].name == "held-out-00000")
    #expect(corpus.description.totals.documents == 60)
    #expect(
      scratch.names("out")
        == (corpus.description.shards.flatMap { [$0.name + ".bin", $0.name + ".idx"] } + [
          "corpus.json", "vocab.txt",
        ])
        .sorted())
    #expect(scratch.names() == ["a.txt", "out", "tokens.txt"])
    #expect(try Corpus(directory: scratch.path + "/out").digest == corpus.digest)
  }

  @Test func sameBytesAgainAndAcrossFiles() throws {
    let (one, two) = (Scratch(), Scratch())
    let whole = Self.text(documents: 40)
    let input = one.write("a.txt", whole)
    let digest = try Self.builder(one, [input]).build().digest
    // The same documents, cut into files, with a byte order mark, CRLF, more blank lines, no last line feed; and as JSON lines.
    let documents = whole.components(separatedBy: "\n\n")
    let first = two.write(
      "1.txt",
      "\u{FEFF}\r\n \n"
        + documents[..<15].joined(separator: "\n\n \n").replacingOccurrences(of: "\n", with: "\r\n"))
    let json = try documents[15..<30].map { text in
      String(decoding: try JSONEncoder().encode(["id": "x", "text": text]), as: UTF8.self)
    }
    let second = two.write("2.jsonl", json.joined(separator: "\n\n"))
    let third = two.write("3.txt", documents[30...].joined(separator: "\n\n"))
    #expect(try Self.builder(two, [first, second, third]).build().digest == digest)
    // Another seed chooses other documents.
    var other = Self.builder(one, [input])
    other.seed = 4
    other.overwrite = true
    #expect(try other.build().digest != digest)
    #expect(one.names() == ["a.txt", "out", "tokens.txt"])
  }

  @Test func faultyInput() throws {
    let scratch = Scratch()
    let good = scratch.write("good.txt", Self.text(documents: 40))
    let empty = scratch.write("empty.txt", "")
    let blank = scratch.write("blank.txt", "\n  \n\r\n")
    let latin = scratch.write("latin.txt", Array("One.\n\nTwo caf".utf8) + [0xE9, 0x0A])
    let json = scratch.write("a.jsonl", "{\"text\": \"One.\"}\n\n{\"body\": 1}\n")
    let broken = scratch.write("b.jsonl", "{\"text\": \"One.\"}\n{\"text\": \"Two")
    let binary = scratch.write("c.jsonl", Array("{\"text\": \"caf".utf8) + [0xE9] + Array("\"}".utf8))
    let array = scratch.write("d.jsonl", "[1]\n")
    let missing = scratch.path + "/missing.txt"
    let utf8 = "convert the file to UTF-8 (iconv -t UTF-8) and try again"
    let field = "not a JSON object with a string \"text\"; mend or remove the line"
    for (input, message) in [
      (missing, "\(missing): cannot be read (No such file or directory); check the path and its permissions"),
      (scratch.path, "\(scratch.path): cannot be read (Is a directory); check the path and its permissions"),
      (empty, "\(empty): is empty; give a file with text"),
      (
        blank,
        "\(blank): holds no document; text has one paragraph a line and a blank line between documents"
      ),
      (latin, "\(latin): not UTF-8 at byte 13; \(utf8)"),
      (json, "\(json), line 3: \(field)"),
      (broken, "\(broken), line 2: \(field)"),
      (binary, "\(binary), line 1: not UTF-8; \(utf8)"),
      (array, "\(array), line 1: \(field)"),
    ] {
      let error = #expect(throws: CorpusError.self) { try Self.builder(scratch, [good, input]).build() }
      #expect(error?.description == message)
      #expect(error?.exitCode == 78)
      #expect(scratch.names().allSatisfy { !$0.hasPrefix(".") && $0 != "out" })
    }
  }

  @Test func missingSplits() {
    let scratch = Scratch()
    let input = scratch.write("a.txt", "One.\n\nTwo.\n")
    for (heldOut, split) in [(0.000001, "held-out"), (0.999999, "training")] {
      let error = #expect(throws: CorpusError.self) {
        try Self.builder(scratch, [input], heldOut: heldOut).build()
      }
      #expect(
        error?.description
          == "none of the 2 documents fell to the \(split) split with --held-out \(heldOut); "
          + "give more documents, another --held-out or another --seed")
    }
    for heldOut in [0, 1, -0.5, .nan] {
      let error = #expect(throws: CorpusError.self) {
        try Self.builder(scratch, [input], heldOut: heldOut).build()
      }
      #expect(
        error?.description == "--held-out \(heldOut): not allowed; give a share between 0 and 1, such as 0.01"
      )
    }
    #expect(throws: CorpusError.invalidOption(name: "--shard-tokens", value: "0", allowed: "at least 1")) {
      try Self.builder(scratch, [input], shardTokens: 0).build()
    }
    #expect(scratch.names() == ["a.txt", "tokens.txt"])
  }

  @Test func outputFolders() throws {
    let scratch = Scratch()
    let output = scratch.path + "/out"
    let input = scratch.write("a.txt", Self.text(documents: 40))
    var builder = Self.builder(scratch, [input])
    // Something else, with and without --overwrite.
    mkdir(output, 0o755)
    scratch.write("out/thesis.txt", "mine")
    for overwrite in [false, true] {
      builder.overwrite = overwrite
      #expect(throws: CorpusError.outputOccupied(directory: output, entry: "thesis.txt")) {
        try builder.build()
      }
    }
    #expect(scratch.names("out") == ["thesis.txt"] && scratch.names() == ["a.txt", "out", "tokens.txt"])
    unlink(output + "/thesis.txt")
    // An empty folder is as good as none.
    builder.overwrite = false
    let digest = try builder.build().digest
    // A corpus.
    let error = #expect(throws: CorpusError.self) { try builder.build() }
    #expect(
      error?.description
        == "\(output): holds a corpus already; choose another output folder, or replace it with --overwrite")
    builder.overwrite = true
    builder.heldOut = 0.4
    let replaced = try builder.build()
    #expect(replaced.digest != digest)
    try replaced.verify()
    #expect(scratch.names() == ["a.txt", "out", "tokens.txt"])
    // A corpus and something else.
    scratch.write("out/notes.txt", "mine")
    #expect(throws: CorpusError.outputOccupied(directory: output, entry: "notes.txt")) { try builder.build() }
    // A file, also as a parent.
    builder.output = input
    #expect(throws: CorpusError.outputOccupied(directory: input, entry: "it is not a folder")) {
      try builder.build()
    }
    builder.output = input + "/out"
    let file = URL(fileURLWithPath: input).standardizedFileURL.path
    #expect(throws: CorpusError.cannotWrite(file: file, reason: "File exists")) {
      try builder.build()
    }
    #expect(scratch.names() == ["a.txt", "out", "tokens.txt"])
  }

  @Test func interruptedBuildLeavesNothing() {
    let scratch = Scratch()
    let input = scratch.write("a.txt", Self.text(documents: 40))
    #expect(throws: CorpusError.interrupted) {
      try Self.builder(scratch, [input]).build(isInterrupted: { true })
    }
    #expect(scratch.names() == ["a.txt", "tokens.txt"])
  }
}
