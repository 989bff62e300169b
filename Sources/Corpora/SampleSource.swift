import Kernels

/// The samples of one split of a corpus: a pure function of corpus, seed, epoch and sample id.
///
/// A sample is one chunk (`ChunkTable`) of a shard: its id is the number of chunks of the shards before, in the order of
/// corpus.json, plus the chunk's index. In each epoch the chunk is cut anew into A and B, uniformly between its sentences. With
/// probability 1/2, and always where the chunk is one sentence, B is instead a run of sentences from another document:
/// uniform among the other documents of the shard (of the other shards where it has just one), from a uniformly drawn
/// sentence on, until the chunk's target length is reached. The pair is then cut to T − 3 tokens: one token at a time from the
/// longer part, at its front or back with probability 1/2 each.
///
/// Source: `create_pretraining_data.py` of google-research/bert (Devlin et al. 2019). There the sentences that a random B
/// displaces begin the next instance; here they wait for another epoch's cut, since chunks are fixed.
public struct SampleSource: Sendable {
  public let corpus: Corpus
  public let split: CorpusSplit
  /// T.
  public let sequenceLength: Int
  /// Number of samples of each shard, in the order of corpus.json.
  public let shardSampleCounts: [Int]
  /// Number of samples an epoch.
  public var count: Int { sampleBases[sampleBases.count - 1] }

  private struct Shard: Sendable {
    let dataset: IndexedDataset
    let chunks: ChunkTable
  }

  private let shards: [Shard]
  /// Samples, and documents, of all shards before each, and of all.
  private let sampleBases: [Int]
  private let documentBases: [Int]
  private let pairs: CounterRandom
  private let masks: CounterRandom
  private let masking: TokenMasking

  /// Opens the shards of a split and groups their sentences into chunks.
  ///
  /// - Throws: `sequenceTooShort` (below 5), `tooFewDocuments` (below 2), what `Corpus.open` throws.
  /// - Cost: reads each .idx twice; 4 bytes a chunk and a document.
  public init(corpus: Corpus, split: CorpusSplit, sequenceLength: Int, seed: UInt64) throws(CorpusError) {
    guard sequenceLength >= 5 else { throw .sequenceTooShort(sequenceLength) }
    precondition(sequenceLength < 1 << 31, "a sequence length of \(sequenceLength)")
    self.corpus = corpus
    self.split = split
    self.sequenceLength = sequenceLength
    var shards: [Shard] = []
    var sampleBases = [0]
    var documentBases = [0]
    for (index, information) in corpus.shards(split).enumerated() {
      let dataset = try corpus.open(information)
      let chunks = ChunkTable(dataset, shard: index, longest: sequenceLength - 3, seed: seed)
      shards.append(Shard(dataset: dataset, chunks: chunks))
      sampleBases.append(sampleBases[index] + chunks.count)
      documentBases.append(documentBases[index] + chunks.documents.count)
    }
    guard documentBases[shards.count] >= 2 else {
      throw .tooFewDocuments(
        directory: corpus.directory, split: split, documents: documentBases[shards.count])
    }
    self.shards = shards
    self.sampleBases = sampleBases
    self.documentBases = documentBases
    shardSampleCounts = shards.map(\.chunks.count)
    pairs = CounterRandom(seed: seed, purpose: .sentencePair)
    masks = CounterRandom(seed: seed, purpose: .masking)
    masking = TokenMasking(corpus.vocabulary)
  }

  /// Makes a sample, `id` in 0 ..< count.
  ///
  /// - Throws: `tokenOutOfRange` where a shard holds a token that the vocabulary lacks.
  /// - Cost: a few arrays of T; reads the sentences of the chunk and of B.
  public func sample(_ id: UInt64, epoch: UInt32) throws(CorpusError) -> Sample {
    precondition(id < UInt64(count), "sample \(id) of \(count)")
    let shard = sampleBases.lastIndexOfNotGreater(than: Int(id))
    let chunk = Int(id) - sampleBases[shard]
    let place = (UInt32(truncatingIfNeeded: id), UInt32(truncatingIfNeeded: id >> 32), epoch)
    var stream = pairs.stream(place.0, place.1, place.2)

    let sentences = shards[shard].chunks.sentences(of: chunk)
    let cut = sentences.count > 1 ? 1 + Int(stream.next(below: UInt32(sentences.count - 1))) : 1
    let first = try tokens(sentences.prefix(cut), of: shard)
    let isRandom = stream.next(below: 2) == 1 || sentences.count == 1
    let second =
      isRandom
      ? try randomSecond(besides: chunk, of: shard, firstLength: first.count, stream: &stream)
      : try tokens(sentences.dropFirst(cut), of: shard)
    let (a, b) = Self.truncate(first, second, to: sequenceLength - 3, stream: &stream)
    return assemble(a, b, isRandom: isRandom, maskStream: masks.stream(place.0, place.1, place.2))
  }

  /// The shard file and the sentences of the chunk that sample `id` is.
  func place(of id: UInt64) -> (dataset: IndexedDataset, sentences: Range<Int>) {
    let shard = sampleBases.lastIndexOfNotGreater(than: Int(id))
    return (shards[shard].dataset, shards[shard].chunks.sentences(of: Int(id) - sampleBases[shard]))
  }

  /// Throws `wrongSize` if a shard of these samples has been cut off, or has grown, since it was opened. To be called after
  /// they were read: what lay beyond the cut may have read as zeros.
  ///
  /// - Cost: two system calls a shard.
  public func checkShards(of ids: [UInt64]) throws(CorpusError) {
    for shard in Set(ids.map { sampleBases.lastIndexOfNotGreater(than: Int($0)) }).sorted() {
      // A random second part comes from the same shard, but for one of a single document.
      if shards[shard].chunks.documents.count > 1 {
        try shards[shard].dataset.checkSizes()
      } else {
        for other in shards { try other.dataset.checkSizes() }
      }
    }
  }

  // MARK: The pair

  private func randomSecond(
    besides chunk: Int, of shard: Int, firstLength: Int, stream: inout RandomStream
  ) throws(CorpusError) -> [Int32] {
    let chunks = shards[shard].chunks
    let (otherShard, document) = otherDocument(than: chunks.document(of: chunk), of: shard, stream: &stream)
    let sentences = shards[otherShard].chunks.sentences(ofDocument: document)
    let start = Int(stream.next(below: UInt32(sentences.count)))
    let target = chunks.target(of: chunk) - firstLength
    var second: [Int32] = []
    for sentence in sentences.dropFirst(start) {
      try append(sentence, of: otherShard, to: &second)
      if second.count >= target { break }
    }
    return second
  }

  private func otherDocument(
    than document: Int, of shard: Int, stream: inout RandomStream
  ) -> (shard: Int, document: Int) {
    let own = shards[shard].chunks.documents.count
    if own > 1 {
      let drawn = Int(stream.next(below: UInt32(own - 1)))
      return (shard, drawn < document ? drawn : drawn + 1)
    }
    let others = documentBases[shards.count] - own
    let drawn = Int(stream.next(below: UInt32(others)))
    let number = drawn < documentBases[shard] ? drawn : drawn + own
    // Shards without documents share the base of the next: the last one at or below the number holds it.
    let other = documentBases.lastIndexOfNotGreater(than: number)
    return (other, number - documentBases[other])
  }

  private func tokens(_ sentences: Range<Int>, of shard: Int) throws(CorpusError) -> [Int32] {
    var tokens: [Int32] = []
    for sentence in sentences { try append(sentence, of: shard, to: &tokens) }
    return tokens
  }

  private func append(_ sentence: Int, of shard: Int, to tokens: inout [Int32]) throws(CorpusError) {
    let start = tokens.count
    let dataset = shards[shard].dataset
    dataset.append(sentence, to: &tokens)
    try checkTokens(tokens[start...], of: sentence, in: dataset, vocabulary: corpus.vocabulary)
  }

  /// Cuts a pair to `limit` tokens. Neither part becomes empty, since `limit` is at least 2.
  private static func truncate(
    _ first: [Int32], _ second: [Int32], to limit: Int, stream: inout RandomStream
  ) -> (ArraySlice<Int32>, ArraySlice<Int32>) {
    var (a, b) = (first[...], second[...])
    while a.count + b.count > limit {
      let atFront = stream.next(below: 2) == 0
      if a.count > b.count {
        a = atFront ? a.dropFirst() : a.dropLast()
      } else {
        b = atFront ? b.dropFirst() : b.dropLast()
      }
    }
    return (a, b)
  }

  // MARK: The sequence

  private func assemble(
    _ a: ArraySlice<Int32>, _ b: ArraySlice<Int32>, isRandom: Bool, maskStream: RandomStream
  ) -> Sample {
    let vocabulary = corpus.vocabulary
    var tokens: [Int32] = []
    tokens.reserveCapacity(sequenceLength)
    tokens.append(vocabulary.classification)
    tokens += a
    tokens.append(vocabulary.separator)
    tokens += b
    tokens.append(vocabulary.separator)
    let length = tokens.count
    tokens += repeatElement(vocabulary.padding, count: sequenceLength - length)
    let labels = masking.apply(to: &tokens, stream: maskStream)
    let types = (0..<sequenceLength).map { position -> Int32 in
      position >= a.count + 2 && position < length ? 1 : 0
    }
    return Sample(
      inputIDs: tokens, tokenTypeIDs: types, length: length, labels: labels,
      nextSentenceLabel: isRandom ? 1 : 0)
  }
}
