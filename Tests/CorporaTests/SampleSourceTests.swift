import Corpora
import Kernels
import Testing

@Suite struct SampleSourceTests {
  static let length = 24
  static let vocabularyCount = 6000

  /// Shards of documents whose sentences are runs of numbers no other sentence has, so that each token tells where it stands:
  /// shard s, document d, sentence i has tokens from `first(s, d, i)` on. 60 documents in three shards, one alone in the last.
  struct Numbered {
    let scratch = Scratch()
    let corpus: Corpus
    /// Of each token id its (shard, document, sentence).
    private(set) var origin: [Int32: SIMD3<Int32>] = [:]
    /// Sentences of each document: the tokens.
    private(set) var documents: [[[[Int32]]]] = []

    init(shards: [Int] = [40, 19, 1]) throws {
      var next: Int32 = 1000
      var stream = CounterRandom(seed: 5, purpose: .initialisation).stream(0)
      for (shard, count) in shards.enumerated() {
        let writer = try IndexedDatasetWriter(
          prefix: "\(scratch.path)/t\(shard)", vocabularyCount: SampleSourceTests.vocabularyCount)
        documents.append([])
        for document in 0..<count {
          var sentences: [[Int32]] = []
          // Documents of one sentence, of many, of a very long sentence; every fifth document is empty.
          let sentenceCount = document % 5 == 4 ? 0 : 1 + Int(stream.next(below: 14))
          for sentence in 0..<sentenceCount {
            let length = document == 7 && sentence == 0 ? 90 : 1 + Int32(stream.next(below: 11))
            sentences.append(Array(next..<next + length))
            for token in next..<next + length {
              origin[token] = SIMD3(Int32(shard), Int32(document), Int32(sentence))
            }
            next += length
          }
          try writer.append(lengths: sentences.map { Int32($0.count) }, tokens: sentences.flatMap { $0 })
          documents[shard].append(sentences)
        }
        _ = try writer.finish(name: "t\(shard)", split: .training)
      }
      let held = try IndexedDatasetWriter(
        prefix: "\(scratch.path)/held-out-0", vocabularyCount: SampleSourceTests.vocabularyCount)
      try held.append(lengths: [1], tokens: [1000])
      _ = try held.finish(name: "held-out-0", split: .heldOut)
      corpus = try Corpus.adopt(
        directory: scratch.path, vocabulary: scratch.writeVocabulary(count: SampleSourceTests.vocabularyCount)
      )
    }
  }

  /// The sample's original tokens (masked ones restored), parted into A and B.
  static func parts(_ sample: Sample) -> (a: [Int32], b: [Int32]) {
    let tokens = (0..<sample.length).map {
      sample.labels[$0] == -100 ? sample.inputIDs[$0] : sample.labels[$0]
    }
    let middle = tokens.firstIndex(of: 102)!
    return (Array(tokens[1..<middle]), Array(tokens[(middle + 1)..<(sample.length - 1)]))
  }

  @Test func formOfASample() throws {
    let numbered = try Numbered()
    let source = try SampleSource(
      corpus: numbered.corpus, split: .training, sequenceLength: Self.length, seed: 9)
    #expect(source.shardSampleCounts.count == 3 && source.shardSampleCounts.reduce(0, +) == source.count)
    var random = 0
    var total = 0
    for epoch in 0..<UInt32(3) {
      for id in 0..<UInt64(source.count) {
        let sample = try source.sample(id, epoch: epoch)
        #expect(sample.inputIDs.count == Self.length && sample.labels.count == Self.length)
        #expect(sample.length >= 5 && sample.length <= Self.length)
        let (a, b) = Self.parts(sample)
        #expect(!a.isEmpty && !b.isEmpty && a.count + b.count + 3 == sample.length)
        #expect(
          sample.inputIDs[0] == 101 && sample.inputIDs[a.count + 1] == 102
            && sample.inputIDs[sample.length - 1] == 102)
        #expect(sample.inputIDs[sample.length...].allSatisfy { $0 == 0 })
        let types = [Int32](repeating: 0, count: a.count + 2) + [Int32](repeating: 1, count: b.count + 1)
        #expect(sample.tokenTypeIDs == types + [Int32](repeating: 0, count: Self.length - sample.length))
        // Each part is a run of consecutive tokens of one document.
        for part in [a, b] {
          #expect(zip(part, part.dropFirst()).allSatisfy { $0 + 1 == $1 })
          let places = part.compactMap { numbered.origin[$0] }
          #expect(
            places.count == part.count && places.allSatisfy { $0.x == places[0].x && $0.y == places[0].y })
        }
        let (from, to) = (numbered.origin[a[0]]!, numbered.origin[b[0]]!)
        total += 1
        if sample.nextSentenceLabel == 1 {
          random += 1
          #expect(from.x != to.x || from.y != to.y)
          // From the same shard where it has another document.
          #expect(from.x == to.x || numbered.documents[Int(from.x)].count == 1)
        } else {
          #expect(sample.nextSentenceLabel == 0)
          #expect(from.x == to.x && from.y == to.y && a[a.count - 1] < b[0])
        }
      }
    }
    // Half of the pairs, and those of chunks of one sentence.
    #expect(Double(random) / Double(total) > 0.5 && Double(random) / Double(total) < 0.85)
  }

  /// With sequences that are never cut short, the samples' first parts show where chunks begin.
  @Test func chunksTileTheDocuments() throws {
    let numbered = try Numbered()
    let longest = 40
    let source = try SampleSource(
      corpus: numbered.corpus, split: .training, sequenceLength: longest + 3, seed: 9)
    // All tokens that a chunk showed in its consecutive pairs and first parts, over many epochs.
    var owner: [Int32: UInt64] = [:]
    var lengths: [UInt64: Set<Int32>] = [:]
    for id in 0..<UInt64(source.count) {
      for epoch in 0..<UInt32(30) {
        let sample = try source.sample(id, epoch: epoch)
        let (a, b) = Self.parts(sample)
        for token in sample.nextSentenceLabel == 0 ? a + b : a {
          #expect(owner[token, default: id] == id)
          owner[token] = id
          lengths[id, default: []].insert(token)
        }
      }
    }
    // Every token, but for what thirty epochs' truncation has hidden by chance.
    let all = numbered.documents.flatMap { $0 }.flatMap { $0 }.flatMap { $0 }
    let seen = all.filter { owner[$0] != nil }.count
    #expect(Double(seen) / Double(all.count) > 0.99)
    // Chunks follow each other in the order of the text.
    let order = owner.keys.sorted().map { owner[$0]! }
    #expect(order == order.sorted())
    #expect(Set(order).count == source.count)
    // About one chunk in ten has a shorter target; the ends of documents make short ones too.
    let full = lengths.values.filter { $0.count >= longest }.count
    #expect(full > source.count / 3)
  }

  /// Sentences longer than a sample, up to whole documents without any end: every token comes, none much less often.
  @Test(arguments: [5, 16, 24, 64, 129])
  func longSentencesAreTrainedOn(_ length: Int) throws {
    let scratch = Scratch()
    let vocabularyCount = 60_000
    var next: Int32 = 1000
    for (name, lengths) in [
      ("t0", [[3000], [length - 3, 1, length - 2, 7 * length], [2 * length], [9, 900, 9]]), ("t1", [[5000]]),
      ("held-out", [[5], [5]]),
    ] {
      let writer = try IndexedDatasetWriter(
        prefix: "\(scratch.path)/\(name)", vocabularyCount: vocabularyCount)
      for document in lengths {
        let count = Int32(document.reduce(0, +))
        try writer.append(lengths: document.map { Int32($0) }, tokens: Array(next..<next + count))
        next += count
      }
      _ = try writer.finish(name: name, split: .training)
    }
    let total = Int(next) - 1010
    let corpus = try Corpus.adopt(
      directory: scratch.path, vocabulary: scratch.writeVocabulary(count: vocabularyCount))
    let source = try SampleSource(corpus: corpus, split: .training, sequenceLength: length, seed: 3)
    // About as many samples as the tokens fill, and the short ones that there are among any.
    let fewest = Double(total) / Double(length - 3)
    #expect(Double(source.count) > 0.7 * fewest && Double(source.count) < 1.5 * fewest + 10)
    let epochs = 60
    var counts = [Int](repeating: 0, count: total)
    var coverage = TokenCoverage(source)
    for epoch in 0..<UInt32(epochs) {
      for id in 0..<UInt64(source.count) {
        let (a, b) = Self.parts(try source.sample(id, epoch: epoch))
        for token in a + b { counts[Int(token) - 1000] += 1 }
        coverage.add(try source.pair(id, epoch: epoch))
      }
      let seen = counts.count { $0 > 0 }
      #expect(coverage.seenCount == seen && coverage.tokenCount == total)
      if epoch == 0 { #expect(Double(seen) > 0.6 * Double(total)) }
    }
    #expect(coverage.seenCount == coverage.tokenCount && coverage.percentage == "100.00 %")
    // A token at the end of a long part comes a quarter as often as one in the middle: 15 times in 60, give or take.
    #expect(counts.min()! >= 4)
  }

  @Test func pureFunctionOfSeedIdAndEpoch() throws {
    let numbered = try Numbered()
    func source(_ seed: UInt64) throws -> SampleSource {
      try SampleSource(corpus: numbered.corpus, split: .training, sequenceLength: Self.length, seed: seed)
    }
    let (one, two, other) = (try source(9), try source(9), try source(10))
    #expect(one.shardSampleCounts == two.shardSampleCounts)
    var differentEpochs = 0
    var differentSeeds = 0
    for id in (0..<UInt64(min(one.count, other.count))).reversed() {
      let sample = try one.sample(id, epoch: 1)
      #expect(try two.sample(id, epoch: 1) == sample)
      if try one.sample(id, epoch: 2) != sample { differentEpochs += 1 }
      if try other.sample(id, epoch: 1) != sample { differentSeeds += 1 }
    }
    #expect(differentEpochs > one.count * 8 / 10 && differentSeeds > one.count * 8 / 10)
  }

  @Test func masking() throws {
    let numbered = try Numbered()
    let source = try SampleSource(corpus: numbered.corpus, split: .training, sequenceLength: 64, seed: 2)
    let special: Set<Int32> = [0, 100, 101, 102, 103]
    var (chosen, masked, kept, replaced) = (0, 0, 0, 0)
    var positions = [Int](repeating: 0, count: 64)
    for epoch in 0..<UInt32(20) {
      for id in 0..<UInt64(source.count) {
        let sample = try source.sample(id, epoch: epoch)
        let labelled = (0..<64).filter { sample.labels[$0] != -100 }
        let words = sample.length - 3
        #expect(labelled.count == max(1, Int((0.15 * Double(words)).rounded(.toNearestOrAwayFromZero))))
        for position in labelled {
          positions[position] += 1
          let (token, label) = (sample.inputIDs[position], sample.labels[position])
          #expect(position < sample.length && !special.contains(label))
          chosen += 1
          if token == 103 {
            masked += 1
          } else if token == label {
            kept += 1
          } else {
            replaced += 1
            #expect(!special.contains(token) && token > 0 && token < SampleSourceTests.vocabularyCount)
          }
        }
      }
    }
    #expect(chosen > 5000)
    func near(_ count: Int, _ share: Double) -> Bool {
      abs(Double(count) - share * Double(chosen)) < 5 * (share * (1 - share) * Double(chosen)).squareRoot()
    }
    #expect(near(masked, 0.8) && near(kept, 0.1) && near(replaced, 0.1))
    #expect(positions[0] == 0 && positions[1] > 0 && positions[62] > 0)
  }

  @Test func textOfUnknownTokensHasNoLabels() throws {
    let scratch = Scratch()
    for name in ["t", "held-out"] {
      let writer = try IndexedDatasetWriter(
        prefix: "\(scratch.path)/\(name)", vocabularyCount: SampleSourceTests.vocabularyCount)
      for _ in 0..<2 { try writer.append(lengths: [3], tokens: [100, 103, 100]) }
      _ = try writer.finish(name: name, split: .training)
    }
    let corpus = try Corpus.adopt(
      directory: scratch.path, vocabulary: scratch.writeVocabulary(count: SampleSourceTests.vocabularyCount))
    let sample = try SampleSource(corpus: corpus, split: .training, sequenceLength: 12, seed: 1).sample(
      0, epoch: 0)
    #expect(sample.inputIDs == [101, 100, 103, 100, 102, 100, 103, 100, 102, 0, 0, 0])
    #expect(sample.labels == [Int32](repeating: -100, count: 12) && sample.nextSentenceLabel == 1)
  }

  @Test func shortestSequences() throws {
    let numbered = try Numbered()
    let source = try SampleSource(corpus: numbered.corpus, split: .training, sequenceLength: 5, seed: 1)
    for id in 0..<UInt64(source.count) { #expect(try source.sample(id, epoch: 0).length == 5) }
    let error = #expect(throws: CorpusError.self) {
      try SampleSource(corpus: numbered.corpus, split: .training, sequenceLength: 4, seed: 1)
    }
    #expect(
      error?.description == "sequence length 4: too short; [CLS] A [SEP] B [SEP] needs at least 5 tokens")
  }

  @Test func oneDocumentIsTooFew() throws {
    let numbered = try Numbered()
    let error = #expect(throws: CorpusError.self) {
      try SampleSource(corpus: numbered.corpus, split: .heldOut, sequenceLength: 16, seed: 1)
    }
    #expect(
      error?.description
        == "\(numbered.scratch.path): its held-out split has 1 document, but sentence pairs need at least two; "
        + "build it with more text or another --held-out")
  }
}
