import Kernels

/// How the sentences of one shard group into chunks, the raw material of samples.
///
/// Within a document consecutive sentences accumulate until the chunk's target length is reached or the document ends. The
/// target is T − 3 tokens (room for [CLS] and two [SEP]), but for one chunk in ten it is uniform in 2 ... T − 3, so that short
/// sequences occur. The chunks tile the document and do not depend on the epoch.
///
/// Source: `create_instances_from_document` of google-research/bert `create_pretraining_data.py` (Devlin et al. 2019), which
/// draws one target a document and one pass; here each chunk draws its own, keyed by (shard, document, chunk of the document).
///
/// - Cost: 4 bytes a chunk and a document.
struct ChunkTable: Sendable {
  /// The first sentence of each chunk, ascending; a chunk ends where the next begins.
  let firstSentences: [UInt32]
  /// The first sentence of each document that has any.
  let documents: [UInt32]
  let sentenceCount: Int

  private let shard: UInt32
  private let longest: Int
  private let random: CounterRandom

  var count: Int { firstSentences.count }

  /// - Parameters:
  ///   - shard: the shard's place among those of its split.
  ///   - longest: T − 3.
  /// - Cost: O(sentences).
  init(_ dataset: IndexedDataset, shard: Int, longest: Int, seed: UInt64) {
    let random = CounterRandom(seed: seed, purpose: .chunkTarget)
    var firstSentences: [UInt32] = []
    var documents: [UInt32] = []
    for document in 0..<dataset.documentCount {
      let sentences = dataset.sequences(of: document)
      guard !sentences.isEmpty else { continue }
      let number = UInt32(documents.count)
      documents.append(UInt32(sentences.lowerBound))
      var ordinal: UInt32 = 0
      var (target, length) = (0, 0)
      for sentence in sentences {
        if length == 0 {
          firstSentences.append(UInt32(sentence))
          target = Self.target(random.stream(UInt32(shard), number, ordinal), longest: longest)
          ordinal += 1
        }
        length += dataset.length(of: sentence)
        if length >= target { length = 0 }
      }
    }
    self.firstSentences = firstSentences
    self.documents = documents
    sentenceCount = dataset.sequenceCount
    self.shard = UInt32(shard)
    self.longest = longest
    self.random = random
  }

  /// The sentences of a chunk.
  func sentences(of chunk: Int) -> Range<Int> {
    let end = chunk + 1 < firstSentences.count ? Int(firstSentences[chunk + 1]) : sentenceCount
    return Int(firstSentences[chunk])..<end
  }

  /// The sentences of a document, numbered among those that have any.
  func sentences(ofDocument document: Int) -> Range<Int> {
    let end = document + 1 < documents.count ? Int(documents[document + 1]) : sentenceCount
    return Int(documents[document])..<end
  }

  /// The document that a chunk belongs to.
  func document(of chunk: Int) -> Int { documents.lastIndexOfNotGreater(than: firstSentences[chunk]) }

  /// The length in tokens that a chunk was to reach.
  func target(of chunk: Int) -> Int {
    let document = document(of: chunk)
    let ordinal = chunk - firstSentences.firstIndexOfNotLess(than: documents[document])
    return Self.target(random.stream(shard, UInt32(document), UInt32(ordinal)), longest: longest)
  }

  private static func target(_ stream: RandomStream, longest: Int) -> Int {
    var stream = stream
    return stream.next(below: 10) == 0 ? 2 + Int(stream.next(below: UInt32(longest - 1))) : longest
  }
}
