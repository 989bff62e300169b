import Corpora
import Foundation
import Testing

@Suite struct CorpusTests {
  /// A scratch folder with a small corpus in "out".
  static func corpus() throws -> (Scratch, Corpus) {
    let scratch = Scratch()
    let input = scratch.write("a.txt", CorpusBuilderTests.text(documents: 40))
    return (scratch, try CorpusBuilderTests.builder(scratch, [input]).build())
  }

  @Test func damageIsNamed() throws {
    let (scratch, corpus) = try Self.corpus()
    let directory = corpus.directory
    var bin = scratch.read("out/train-00000.bin")
    let size = bin.count
    // One byte flipped: found by verify alone.
    bin[7] ^= 1
    let path = scratch.write("out/train-00000.bin", bin)
    let damaged = try Corpus(directory: directory)
    let error = #expect(throws: CorpusError.self) { try damaged.verify() }
    #expect(error?.description.hasPrefix("\(path): has SHA-256 ") == true)
    // Truncated: found on opening.
    scratch.write("out/train-00000.bin", Array(bin.dropLast(10)))
    #expect(throws: CorpusError.wrongSize(file: path, expected: size, found: size - 10)) {
      try Corpus(directory: directory)
    }
    // Truncated after the corpus was opened: found on opening the shard.
    #expect(throws: CorpusError.wrongSize(file: path, expected: size, found: size - 10)) {
      try SampleSource(corpus: damaged, split: .training, sequenceLength: 16, seed: 1)
    }
    unlink(path)
    #expect(throws: CorpusError.cannotRead(file: path, reason: "No such file or directory")) {
      try Corpus(directory: directory)
    }
  }

  /// A changed byte is found while samples are read, by the reader whose part the shard is.
  @Test func damageIsFoundInTheBackground() async throws {
    let (scratch, sound) = try Self.corpus()
    #expect(sound.description.shards.count == 2)
    var bin = scratch.read("out/train-00000.bin")
    bin[7] ^= 1
    let path = scratch.write("out/train-00000.bin", bin)
    let corpus = try Corpus(directory: sound.directory)
    let source = try SampleSource(corpus: corpus, split: .training, sequenceLength: 16, seed: 1)
    try source.checkShards(of: [0])
    // The other shard is as it was.
    corpus.verifyInBackground(part: 1, of: 2)
    try await Task.sleep(for: .milliseconds(300))
    try source.checkShards(of: [0])
    corpus.verifyInBackground(part: 0, of: 2)
    var found: CorpusError?
    for _ in 0..<400 where found == nil {
      try await Task.sleep(for: .milliseconds(25))
      do throws(CorpusError) { try source.checkShards(of: [0]) } catch { found = error }
    }
    #expect(found?.exitCode == 78 && found?.description.hasPrefix("\(path): has SHA-256 ") == true)
  }

  @Test func otherVocabularyIsNoticed() throws {
    let (scratch, corpus) = try Self.corpus()
    let path = scratch.write("out/vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")
    let error = #expect(throws: CorpusError.self) { try Corpus(directory: corpus.directory) }
    #expect(error?.description.hasPrefix("\(path): has SHA-256 ") == true)
  }

  @Test(arguments: [
    ("", "not JSON"),
    ("{}", "no format"),
    ("[1]", "not JSON"),
    ("\"format\" : \"other\"", "format is \"other\", not \"bipft-corpus\""),
    ("\"format_version\" : 9", "format_version is 9, this program reads 1 to 2"),
    ("\"format_version\" : \"1\"", "formatVersion has the wrong type"),
    ("\"name\" : \"../train\"", "\"../train\" is not the name of a file of the corpus"),
    ("\"split\" : \"test\"", "shards.Index 0.split has a value that is not allowed"),
    ("\"documents\" : 7", "totals are not the sums over the shards"),
    ("\"sequences\" : -7", "the counts of train-00000 cannot be"),
    ("\"unknown_tokens\" : 99999999", "the counts of train-00000 cannot be"),
  ])
  func faultyDescriptions(_ change: String, _ reason: String) throws {
    let (scratch, corpus) = try Self.corpus()
    var text = String(decoding: scratch.read("out/corpus.json"), as: UTF8.self)
    if let colon = change.range(of: " : ") {
      let key = String(change[..<colon.lowerBound])
      let line = try #require(text.range(of: key + " : [^,\n]*", options: .regularExpression))
      text.replaceSubrange(line, with: change)
    } else {
      text = change
    }
    let path = scratch.write("out/corpus.json", text)
    let error = #expect(throws: CorpusError.self) { try Corpus(directory: corpus.directory) }
    if change == "[1]" {
      #expect(error?.description.hasPrefix("\(path): is not the description of a corpus (") == true)
    } else {
      #expect(
        error?.description
          == "\(path): is not the description of a corpus (\(reason)); build or adopt the corpus again")
    }
  }

  @Test func foldersWithoutCorpus() {
    let scratch = Scratch()
    for directory in [scratch.path, scratch.path + "/none"] {
      let error = #expect(throws: CorpusError.self) { try Corpus(directory: directory) }
      #expect(
        error?.description
          == "\(directory): has no corpus.json; build a corpus with `bipft corpus build` or adopt shards with `bipft corpus adopt`"
      )
    }
  }

  @Test func summaries() throws {
    let (_, corpus) = try Self.corpus()
    let summary = try CorpusSummary(corpus)
    let totals = corpus.description.totals
    #expect(summary.table.count == corpus.description.shards.count + 2)
    #expect(summary.table[1].hasPrefix("train-00000     training "))
    #expect(summary.table.last?.contains(" \(totals.documents)        \(totals.sequences)") == true)
    #expect(summary.lines[2] == "vocabulary: 400 tokens, SHA-256 \(corpus.vocabulary.digest)")
    let json = try JSONSerialization.jsonObject(with: Data(summary.json.utf8)) as? [String: Any]
    #expect(json?["digest"] as? String == corpus.digest)
    #expect((json?["totals"] as? [String: Any])?["tokens"] as? Int == totals.tokens)
    #expect((json?["shards"] as? [Any])?.count == totals.shards)
  }

  @Test func shareOfUnknown() throws {
    let scratch = Scratch()
    // Of a document's twelve tokens one is not in the vocabulary.
    let text = (0..<40).map { "Line \($0) is here. It stays. It stays. ไทย" }.joined(separator: "\n\n")
    let input = scratch.write("a.txt", text)
    let corpus = try CorpusBuilderTests.builder(scratch, [input]).build()
    let totals = corpus.description.totals
    #expect(totals.unknownTokens == 40 && totals.tokens == 480)
    let summary = try CorpusSummary(corpus)
    #expect(
      summary.lines.last == "unknown: 8.33 % of the training tokens, 8.33 % of the held-out tokens are [UNK]")
    #expect(summary.warnings.count == 2)
    #expect(
      summary.warnings.first
        == "warning: 8.33 % of the training tokens are [UNK]: the vocabulary does not know this text; use one that was made "
        + "for its language and script")
    // A corpus of version 1 lacks the counts; they are made.
    var json = String(decoding: scratch.read("out/corpus.json"), as: UTF8.self)
    json = json.replacing(#/,\n *"unknown_tokens" : \d+/#, with: "").replacing(
      "\"format_version\" : 2", with: "\"format_version\" : 1")
    #expect(!json.contains("unknown"))
    scratch.write("out/corpus.json", json)
    let old = try Corpus(directory: corpus.directory)
    #expect(old.description.totals.unknownTokens == nil)
    #expect(try CorpusSummary(old).warnings == summary.warnings)
    let (_, known) = try Self.corpus()
    #expect(try CorpusSummary(known).warnings == [])
  }

  // MARK: Adopting

  /// A folder with one training and one held-out shard of documents [[1, 2], [3]] and [[258]], and a vocabulary.
  static func shards(tokens: Int = 300) throws -> (Scratch, vocabulary: String) {
    let scratch = Scratch()
    for name in ["wiki_text_sentence", "valid-1"] {
      let writer = try IndexedDatasetWriter(prefix: "\(scratch.path)/\(name)", vocabularyCount: 70_000)
      try writer.append(lengths: [2, 1], tokens: [1, 2, 3])
      try writer.append(lengths: [1], tokens: [258])
      _ = try writer.finish(name: name, split: .training)
    }
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    let vocabulary = (special + (special.count..<tokens).map { "t\($0)" }).joined(separator: "\n")
    return (scratch, scratch.write("tokens.txt", vocabulary))
  }

  @Test func adoptsForeignShards() throws {
    let (scratch, vocabulary) = try Self.shards()
    let corpus = try Corpus.adopt(directory: scratch.path, vocabulary: vocabulary, heldOutPrefix: "valid")
    try corpus.verify()
    #expect(corpus.description.shards.map(\.name) == ["wiki_text_sentence", "valid-1"])
    #expect(corpus.shards(.heldOut).map(\.name) == ["valid-1"] && corpus.description.build == nil)
    #expect(corpus.vocabulary.count == 300 && scratch.names().contains("vocab.txt"))
    let source = try SampleSource(corpus: corpus, split: .heldOut, sequenceLength: 16, seed: 1)
    #expect(source.count == 2)
    #expect(throws: CorpusError.corpusExists(directory: scratch.path)) {
      try Corpus.adopt(directory: scratch.path, vocabulary: vocabulary, heldOutPrefix: "valid")
    }
  }

  @Test func hiddenFilesAreNoShards() throws {
    let (scratch, vocabulary) = try Self.shards()
    for name in [
      "._wiki_text_sentence.idx", "._wiki_text_sentence.bin", "._valid-1.idx", ".DS_Store", ".x.bin",
    ] {
      scratch.write(name, [0, 5, 22, 7])
    }
    let corpus = try Corpus.adopt(directory: scratch.path, vocabulary: vocabulary, heldOutPrefix: "valid")
    #expect(corpus.description.shards.map(\.name) == ["wiki_text_sentence", "valid-1"])
    #expect(corpus.description.totals.unknownTokens == 2)
  }

  @Test func refusesShardsThatDoNotFit() throws {
    let (scratch, vocabulary) = try Self.shards(tokens: 200)
    let before = scratch.names()
    func adopt(_ prefix: String) throws(CorpusError) {
      _ = try Corpus.adopt(directory: scratch.path, vocabulary: vocabulary, heldOutPrefix: prefix)
    }
    let error = #expect(throws: CorpusError.self) { try adopt("valid") }
    #expect(
      error?.description
        == "\(scratch.path)/valid-1.bin: sequence 2 holds token 258, but the vocabulary has 200 tokens; "
        + "use the vocabulary that it was tokenised with")
    #expect(scratch.names() == before)
    unlink(scratch.path + "/valid-1.bin")
    #expect(throws: CorpusError.unpairedShard(file: scratch.path + "/valid-1.idx", missing: "valid-1.bin")) {
      try adopt("valid")
    }
    unlink(scratch.path + "/valid-1.idx")
    let (other, good) = try Self.shards()
    #expect(throws: CorpusError.missingShards(directory: other.path, split: .heldOut, prefix: "test")) {
      try Corpus.adopt(directory: other.path, vocabulary: good, heldOutPrefix: "test")
    }
    other.write("vocab.txt", "something else")
    #expect(throws: CorpusError.outputOccupied(directory: other.path, entry: "another vocab.txt")) {
      try Corpus.adopt(directory: other.path, vocabulary: good, heldOutPrefix: "valid")
    }
    let nothing = Scratch()
    #expect(throws: CorpusError.noShards(directory: nothing.path)) {
      try Corpus.adopt(directory: nothing.path, vocabulary: good)
    }
  }
}
