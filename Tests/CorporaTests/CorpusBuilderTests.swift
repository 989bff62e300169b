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
    let pretty = scratch.write("e.json", "{\n  \"text\": \"One.\"\n}\n")
    let number = scratch.write("f.jsonl", "{\"text\": \"One.\"}\n{\"text\": 1}\n17\n")
    let half = scratch.write("g.jsonl", "{\"text\": \"One.\"}\n{\"text\": \"a \\ud83d b\"}\n")
    let nan = scratch.write("h.jsonl", "{\"text\": \"One.\", \"score\": NaN}\n")
    let packed = scratch.write("i.txt.gz", [0x1F, 0x8B, 8, 0])
    let wide = scratch.write("j.txt", [0xFF, 0xFE, 0x41, 0])
    let missing = scratch.path + "/missing.txt"
    let utf8 = "convert the file to UTF-8 (iconv -t UTF-8)"
    let choice =
      "; mend it, or leave such documents out with --on-invalid skip, or mend them with --on-invalid replace"
    let renamed = scratch.write("k.txt", "[\n  {\"text\": \"One.\"}\n]\n")
    let whole = "is JSON, but not with an object in each line; make it so "
    let asText = "for objects of several lines), or take it as it stands with --format text"
    for (input, message) in [
      (missing, "\(missing): cannot be read (No such file or directory); check the path and its permissions"),
      (scratch.path, "\(scratch.path): cannot be read (Is a directory); check the path and its permissions"),
      (empty, "\(empty): is empty; give a file with text"),
      (
        blank,
        "\(blank): holds no document; text has one paragraph a line and a blank line between documents"
      ),
      (latin, "\(latin), line 3: not UTF-8 (byte 13 of the file); \(utf8)\(choice)"),
      (json, "\(json), line 3: it has no \"text\"\(choice)"),
      (
        broken,
        "\(broken), line 2: not JSON: the text ends inside a string, at byte 14 of the line\(choice)"
      ),
      (binary, "\(binary), line 1: not UTF-8 (byte 13 of the file); \(utf8)\(choice)"),
      (array, "\(array): \(whole)(jq -c '.[]' \(array) for an array, jq -c . \(array) \(asText)"),
      (pretty, "\(pretty): \(whole)(jq -c '.[]' \(pretty) for an array, jq -c . \(pretty) \(asText)"),
      (renamed, "\(renamed): \(whole)(jq -c '.[]' \(renamed) for an array, jq -c . \(renamed) \(asText)"),
      (number, "\(number), line 2: its \"text\" is no string\(choice)"),
      (half, "\(half), line 2: not JSON: half of a surrogate pair, at byte 20 of the line\(choice)"),
      (nan, "\(nan), line 1: NaN at byte 27, which JSON does not have\(choice)"),
      (packed, "\(packed): is compressed with gzip; give the decompressed file (gunzip -k \(packed))"),
      (wide, "\(wide): is UTF-16; convert the file to UTF-8 (iconv -f UTF-16 -t UTF-8) and try again"),
    ] {
      let error = #expect(throws: CorpusError.self) { try Self.builder(scratch, [good, input]).build() }
      #expect(error?.description == message)
      #expect(error?.exitCode == 78)
      #expect(scratch.names().allSatisfy { !$0.hasPrefix(".") && $0 != "out" })
    }
  }

  /// What is invalid is left out or mended, counted and named; valid documents come out the same.
  @Test func invalidDocuments() throws {
    let scratch = Scratch()
    var lines = (0..<30).map { "{\"text\": \"\($0) is here. It stays.\"}" }
    let good = scratch.write("good.jsonl", lines.joined(separator: "\n"))
    lines[3] = "{\"text\": \"3 is \\ud83d here. It stays.\"}"
    lines[5] = "{\"text\": \"5 is here. It stays.\", \"a\": [NaN, -Infinity]}"
    lines[7] = "{\"text\": \"7 is \\uDE00\\ud83d here. It stays.\", \"pair\": \"\\ud83d\\ude00\"}"
    let mendable = scratch.write("mendable.jsonl", lines.joined(separator: "\n"))
    lines[9] = "17"
    lines[11] = "{\"text\": null}"
    let mixed = scratch.write("mixed.jsonl", lines.joined(separator: "\n"))
    func build(_ input: String, _ invalid: InvalidText) throws -> (documents: [[String]], notes: [String]) {
      var builder = Self.builder(scratch, [input])
      (builder.invalid, builder.overwrite) = (invalid, true)
      var notes: [String] = []
      let corpus = try builder.build(note: { notes.append($0) })
      let documents = try Self.documents(corpus, .training) + Self.documents(corpus, .heldOut)
      return (documents, notes)
    }
    let whole = try build(good, .fail).documents
    #expect(whole.count == 30)
    let replaced = try build(mendable, .replace)
    #expect(replaced.documents == whole)
    #expect(replaced.notes[0] == "\(mendable): read as JSON lines")
    #expect(replaced.notes[1] == "invalid: 0 documents left out, 3 mended")
    #expect(replaced.notes[2].hasPrefix("  \(mendable), line 4: not JSON: half of a surrogate pair"))
    let skipped = try build(mendable, .skip)
    #expect(skipped.notes[1] == "invalid: 3 documents left out, 0 mended")
    let invalid: Set<Substring> = ["3", "5", "7"]
    #expect(skipped.documents == whole.filter { !invalid.contains($0[0].prefix { $0 != " " }) })
    let both = try build(mixed, .replace)
    #expect(both.documents.count == 28 && both.notes[1] == "invalid: 2 documents left out, 3 mended")
    // Text that is not UTF-8.
    var text = Array(Self.text(documents: 20).utf8)
    text += Array("\n20 is here. It stays".utf8) + [0xE9, 0xFF] + Array(".\nA second line of 20!\n".utf8)
    let latin = scratch.write("latin.txt", text)
    let sound = try build(scratch.write("sound.txt", Self.text(documents: 21)), .fail).documents
    let mended = try build(latin, .replace)
    #expect(mended.documents == sound && mended.notes[1] == "invalid: 0 documents left out, 1 mended")
    #expect(mended.notes[2].hasPrefix("  \(latin), line 61: not UTF-8 (byte "))
    #expect(try build(latin, .skip).documents.count == 20)
  }

  /// JSON lines are known by their names and first bytes; --format insists.
  @Test func formats() throws {
    let scratch = Scratch()
    let json = (0..<30).map { "{\"id\": \"a\", \"text\": \"\($0) is here. It stays.\"}" }.joined(
      separator: "\n")
    func build(_ name: String, _ text: String, _ format: TextFormat = .auto) throws -> (
      digest: String, note: String
    ) {
      var builder = Self.builder(scratch, [scratch.write(name, text)])
      (builder.format, builder.overwrite) = (format, true)
      var notes: [String] = []
      return (try builder.build(note: { notes.append($0) }).digest, notes[0])
    }
    let wanted = try build("a.jsonl", json)
    for name in ["a.json", "a.NDJSON", "a.jsonlines", "a.JSONL", "part-00001", "a.txt"] {
      let found = try build(name, "\u{FEFF}\n" + json)
      #expect(found.digest == wanted.digest && found.note == "\(scratch.path)/\(name): read as JSON lines")
    }
    #expect(try build("b.txt", json, .jsonl).digest == wanted.digest)
    // Invalid lines, the first one too, are for --on-invalid, whatever the name.
    let invalid = #expect(throws: CorpusError.self) { try build("e.txt", "{\"text\": NaN}\n" + json) }
    #expect(invalid?.description.contains("e.txt, line 1: NaN at byte 10") == true)
    // Text that only looks a little like it.
    let text = try build("c.txt", "{ A brace } is here.\n\n" + Self.text(documents: 30))
    #expect(text.note == "\(scratch.path)/c.txt: read as text")
    let insisted = try build("d.jsonl", Self.text(documents: 30), .text)
    #expect(insisted.note == "\(scratch.path)/d.jsonl: read as text")
  }

  @Test func missingText() {
    let scratch = Scratch()
    let one = scratch.write("one.txt", String(repeating: "One sentence. Another one.\n", count: 50))
    let empty = scratch.write("empty.jsonl", "{\"text\": \"\"}\n{\"text\": \" \"}\n{\"text\": \"\"}\n")
    for (input, message) in [
      (
        one,
        "\(one): all text is one document, but some documents must be held out for evaluation; put a blank line between documents"
      ),
      (
        empty,
        "\(empty): none of the 3 documents has any text (0 were left out as invalid); give text, in JSON lines as the field \"text\""
      ),
    ] {
      let error = #expect(throws: CorpusError.self) { try Self.builder(scratch, [input]).build() }
      #expect(error?.description == message)
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
    var nameless = Self.builder(scratch, [input])
    nameless.output = ""
    let error = #expect(throws: CorpusError.self) { try nameless.build() }
    #expect(error?.description == "--output is empty; give the name of a folder")
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

  /// An empty folder stays the folder that it is, with what a system has left in it.
  @Test func emptyFolderIsFilled() throws {
    let scratch = Scratch()
    let output = scratch.path + "/out"
    mkdir(output, 0o755)
    scratch.write("out/.DS_Store", [0, 0, 0, 1])
    var status = stat()
    #expect(stat(output, &status) == 0)
    let inode = status.st_ino
    let input = scratch.write("a.txt", Self.text(documents: 40))
    var builder = Self.builder(scratch, [input])
    #expect(throws: CorpusError.interrupted) { try builder.build(isInterrupted: { true }) }
    #expect(scratch.names("out") == [".DS_Store"])
    let digest = try builder.build().digest
    #expect(stat(output, &status) == 0 && status.st_ino == inode)
    #expect(
      scratch.names("out")
        == [
          ".DS_Store", "corpus.json", "held-out-00000.bin", "held-out-00000.idx", "train-00000.bin",
          "train-00000.idx",
          "vocab.txt",
        ])
    builder.output = scratch.path + "/other"
    #expect(try builder.build().digest == digest)
    // Replacing leaves nothing else.
    builder.overwrite = true
    #expect(try builder.build().digest == digest)
    #expect(scratch.names() == ["a.txt", "other", "out", "tokens.txt"])
  }

  /// What a crash has left between the two renames of a file system without exchange comes back.
  @Test func crashedReplacementIsRestored() throws {
    let scratch = Scratch()
    let input = scratch.write("a.txt", Self.text(documents: 40))
    let builder = Self.builder(scratch, [input])
    _ = try builder.build()
    #expect(rename(scratch.path + "/out", scratch.path + "/.out.replaced") == 0)
    #expect(throws: CorpusError.corpusExists(directory: scratch.path + "/out")) { try builder.build() }
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
