import Corpora
import Testing

@Suite struct SentenceSourceTests {
  /// Every token is in one sample, and every sentence that there is room for is one.
  @Test func sentencesAreSamples() throws {
    let numbered = try SampleSourceTests.Numbered()
    for length in [5, 12, 24] {
      let source = try SentenceSource(corpus: numbered.corpus, split: .training, sequenceLength: length)
      #expect(source.shardSampleCounts.count == 3)
      var samples: [[Int32]] = []
      for id in 0..<UInt64(source.shardSampleCounts.reduce(0, +)) {
        let sample = try source.sentence(id)
        #expect(sample.inputIDs.count == length && (3...length).contains(sample.length))
        #expect(sample.inputIDs[0] == 101 && sample.inputIDs[sample.length - 1] == 102)
        #expect(sample.inputIDs[sample.length...].allSatisfy { $0 == 0 })
        samples.append(Array(sample.inputIDs[1..<sample.length - 1]))
      }
      let sentences = numbered.documents.flatMap { $0.flatMap { $0 } }
      #expect(samples.flatMap { $0 } == sentences.flatMap { $0 })
      let whole = sentences.filter { $0.count <= length - 2 }
      #expect(samples.count { numbered.isSentence($0) } == whole.count)
      // A longer one is cut into the fewest pieces, as equal as can be.
      let cut = sentences.filter { $0.count > length - 2 }
      #expect(
        samples.count - whole.count == cut.reduce(0) { $0 + ($1.count + length - 3) / (length - 2) })
      let pieces = samples.filter { !numbered.isSentence($0) }
      #expect(pieces.allSatisfy { $0.count >= (length - 2) / 2 })
      try source.checkShards(of: [0, UInt64(samples.count - 1)])
    }
  }
}

extension SampleSourceTests.Numbered {
  /// Whether these tokens are one whole sentence.
  fileprivate func isSentence(_ tokens: [Int32]) -> Bool {
    documents.contains { $0.contains { $0.contains(tokens) } }
  }
}
