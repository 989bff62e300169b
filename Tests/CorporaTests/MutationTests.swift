import Corpora
import Foundation
import Mutations
import Testing

/// Damaged files of a corpus and damaged text: taken, or refused in one line that names a file; no crash.
@Suite struct MutationTests {
  private let scratch: Scratch
  private let corpus: Corpus

  init() throws { (scratch, corpus) = try CorpusTests.corpus() }

  private func expectClear(_ error: CorpusError, _ number: Int, location: SourceLocation = #_sourceLocation) {
    let text = error.description
    // Too few documents for a split are the fault of no file.
    let isNamed = text.contains(scratch.path) || text.contains("--held-out")
    #expect(
      isNamed && !text.contains("\n"), "mutant \(number): \(text)",
      sourceLocation: location)
  }

  @Test(arguments: ["idx", "bin"]) func indexedDatasets(file: String) throws {
    let prefix = corpus.directory + "/train-00000"
    let good = scratch.read("out/train-00000." + file)
    var (opened, refused) = (0, 0)
    Mutations.of(good, count: 1_000, name: file) { bytes, number in
      scratch.write("out/train-00000." + file, bytes)
      do throws(CorpusError) {
        let dataset = try IndexedDataset(prefix: prefix)
        opened += 1
        var tokens = 0
        for sequence in 0..<dataset.sequenceCount { tokens += try dataset.tokens(of: sequence).count }
        #expect(tokens == dataset.tokenCount, "mutant \(number)")
        for document in 0..<dataset.documentCount {
          #expect(dataset.sequences(of: document).upperBound <= dataset.sequenceCount, "mutant \(number)")
        }
        // With a wrong token the whole corpus is refused, at the latest by `verify`.
        try Corpus(directory: corpus.directory).verify()
        #expect(bytes == good, "mutant \(number) is verified")
      } catch {
        refused += 1
        expectClear(error, number)
      }
    }
    #expect(opened > 0 && refused > 0)
  }

  /// Shards whose bytes nobody vouches for: adopted, or refused, and samples of what was adopted.
  @Test func adoptedShards() throws {
    let good = ["idx", "bin"].map { scratch.read("out/train-00000." + $0) }
    let vocabulary = scratch.writeVocabulary(count: 400, words: CorpusBuilderTests.words)
    var (adopted, refused) = (0, 0)
    var mutations = Mutations("adopt")
    for number in 0..<300 * Mutations.rounds {
      let folder = "adopt-\(number)"
      mkdir(scratch.path + "/" + folder, 0o755)
      for (index, kind) in ["idx", "bin"].enumerated() {
        let isMutant = number % 2 == index
        scratch.write("\(folder)/shard.\(kind)", isMutant ? mutations.mutant(of: good[index]) : good[index])
        scratch.write("\(folder)/held-out.\(kind)", good[index])
      }
      do throws(CorpusError) {
        let corpus = try Corpus.adopt(
          directory: scratch.path + "/" + folder, vocabulary: vocabulary)
        adopted += 1
        let source = try SampleSource(corpus: corpus, split: .training, sequenceLength: 16, seed: 1)
        for id in 0..<min(source.count, 20) { _ = try source.sample(UInt64(id), epoch: 0) }
      } catch {
        refused += 1
        expectClear(error, number)
      }
      try? FileManager.default.removeItem(atPath: scratch.path + "/" + folder)
    }
    #expect(adopted > 0 && refused > 0)
  }

  @Test func descriptions() throws {
    let good = scratch.read("out/corpus.json")
    var (opened, refused) = (0, 0)
    Mutations.of(good, count: 1_000, name: "corpus.json") { bytes, number in
      scratch.write("out/corpus.json", bytes)
      do throws(CorpusError) {
        let corpus = try Corpus(directory: corpus.directory)
        opened += 1
        _ = try CorpusSummary(corpus).lines
        for split in [CorpusSplit.training, .heldOut] {
          _ = try SampleSource(corpus: corpus, split: split, sequenceLength: 16, seed: 1)
        }
        try corpus.verify()
      } catch {
        refused += 1
        expectClear(error, number)
      }
    }
    #expect(opened > 0 && refused > opened)
  }

  @Test func vocabularies() throws {
    let good = scratch.read("out/vocab.txt")
    var (opened, refused) = (0, 0)
    Mutations.of(good, count: 500, name: "vocab.txt") { bytes, number in
      let path = scratch.write("mutated.txt", bytes)
      do throws(CorpusError) {
        let tokenizer = WordPieceTokenizer(vocabulary: try Vocabulary(path: path))
        opened += 1
        let ids = tokenizer.encode("It stays. [MASK] \u{301}İ 中 a\u{0}b")
        #expect(ids.allSatisfy { $0 >= 0 && $0 < tokenizer.vocabulary.count }, "mutant \(number)")
      } catch {
        refused += 1
        expectClear(error, number)
      }
    }
    #expect(opened > 0 && refused > 0)
  }

  @Test(arguments: ["a.txt", "a.jsonl"]) func inputs(name: String) throws {
    let text = CorpusBuilderTests.text(documents: 12)
    let lines = text.split(separator: "\n\n").map {
      "{\"id\": 7, \"text\": \"\($0.replacing("\n", with: "\\n"))\", \"more\": [null, {\"é\": 1e3}]}\n"
    }
    let good = Array((name == "a.txt" ? text : lines.joined()).utf8)
    var (built, refused) = (0, 0)
    Mutations.of(good, count: 400, name: name) { bytes, number in
      let input = scratch.write(name, bytes)
      var builder = CorpusBuilderTests.builder(scratch, [input])
      builder.output = scratch.path + "/built-\(number)"
      do throws(CorpusError) {
        try builder.build().verify()
        built += 1
      } catch {
        refused += 1
        expectClear(error, number)
      }
      try? FileManager.default.removeItem(atPath: builder.output)
    }
    #expect(built > 0 && refused > 0)
  }
}
