import Kernels

/// The samples of one split of a corpus: a pure function of corpus, seed, epoch and sample id.
///
/// A sample is one chunk (`ChunkTable`) of a shard: its id is the number of chunks of the shards before, in the order of
/// corpus.json, plus the chunk's index. In each epoch the chunk is cut anew into A and B, uniformly between its sentences (or
/// pieces of sentences longer than a sample). With probability 1/2, and always where the chunk is one sentence, B is instead a
/// run of sentences from another document: uniform among the other documents of the shard (of the other shards where it has
/// just one), from a uniformly drawn sentence on, until the chunk's target length is reached. The pair is then cut to T − 3
/// tokens: the longer part is shortened first, both to halves where that does not do. Of a part of s tokens that keeps w, one
/// of the ⌈s / w⌉ evenly spread runs that together cover it is kept, each as likely: so no token is hidden in every epoch.
///
/// Source: `create_pretraining_data.py` of google-research/bert (Devlin et al. 2019). There the sentences that a random B
/// displaces begin the next instance; here they wait for another epoch's cut, since chunks are fixed. And there each token too
/// many is taken from front or back with probability 1/2, which never shows the ends of a long part.
public struct SampleSource: Sendable {
  public let corpus: Corpus
  public let split: CorpusSplit
  /// T.
  public let sequenceLength: Int
  /// Number of samples of each shard, in the order of corpus.json.
  public let shardSampleCounts: [Int]
  /// Number of samples an epoch.
  public var count: Int { sampleBases[sampleBases.count - 1] }
  /// Number of tokens of each shard.
  public var shardTokenCounts: [Int] { shards.map(\.dataset.tokenCount) }

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
  /// - Throws: `sequenceTooShort` (below 5), `tooFewDocuments` (below 2), `tooManyPieces`, what `Corpus.open` throws.
  /// - Cost: reads each .idx twice; 4 bytes a chunk and a document, 12 a sentence longer than a sample.
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
      let chunks = try ChunkTable(dataset, shard: index, longest: sequenceLength - 3, seed: seed)
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
  /// - Throws: `tokenOutOfRange` where a shard holds a token that the vocabulary lacks, what `pair` throws.
  /// - Cost: a few arrays of T; reads the tokens of the sample.
  public func sample(_ id: UInt64, epoch: UInt32) throws(CorpusError) -> Sample {
    let pair = try pair(id, epoch: epoch)
    let place = Self.place(id, epoch)
    return assemble(
      try tokens(pair.first), try tokens(pair.second), isRandom: pair.isRandom,
      maskStream: masks.stream(place.0, place.1, place.2))
  }

  /// Where the tokens of a sample stand, `id` in 0 ..< count.
  ///
  /// - Throws: `changedWhileOpen` where an index is no longer as it was opened.
  /// - Cost: reads no token; a look-up a sentence.
  public func pair(_ id: UInt64, epoch: UInt32) throws(CorpusError) -> SamplePair {
    precondition(id < UInt64(count), "sample \(id) of \(count)")
    let shard = sampleBases.lastIndexOfNotGreater(than: Int(id))
    let chunk = Int(id) - sampleBases[shard]
    let place = Self.place(id, epoch)
    var stream = pairs.stream(place.0, place.1, place.2)

    let pieces = shards[shard].chunks.pieces(of: chunk)
    let cut = pieces.count > 1 ? 1 + Int(stream.next(below: UInt32(pieces.count - 1))) : 1
    let first = try tokens(of: pieces.prefix(cut), in: shard)
    let isRandom = stream.next(below: 2) == 1 || pieces.count == 1
    let second =
      isRandom
      ? try randomSecond(besides: chunk, of: shard, firstLength: first.tokens.count, stream: &stream)
      : try tokens(of: pieces.dropFirst(cut), in: shard)
    return SamplePair(
      first: first, second: second, isRandom: isRandom, limit: sequenceLength - 3, stream: &stream)
  }

  /// The shard file and the tokens of the chunk that sample `id` is.
  func chunk(of id: UInt64) throws(CorpusError) -> (dataset: IndexedDataset, tokens: Range<Int>) {
    let shard = sampleBases.lastIndexOfNotGreater(than: Int(id))
    let pieces = shards[shard].chunks.pieces(of: Int(id) - sampleBases[shard])
    return (shards[shard].dataset, try tokens(of: pieces, in: shard).tokens)
  }

  /// Throws `wrongSize` if a shard of these samples has been cut off, or has grown, since it was opened. To be called after
  /// they were read: what lay beyond the cut may have read as zeros. Also throws what `Corpus.verifyInBackground` has found.
  ///
  /// - Cost: two system calls a shard.
  public func checkShards(of ids: [UInt64]) throws(CorpusError) {
    try corpus.checkBackground()
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

  /// The counter that keys what is drawn for a sample.
  private static func place(_ id: UInt64, _ epoch: UInt32) -> (UInt32, UInt32, UInt32) {
    (UInt32(truncatingIfNeeded: id), UInt32(truncatingIfNeeded: id >> 32), epoch)
  }

  private func randomSecond(
    besides chunk: Int, of shard: Int, firstLength: Int, stream: inout RandomStream
  ) throws(CorpusError) -> TokenRange {
    let chunks = shards[shard].chunks
    let (otherShard, document) = otherDocument(than: chunks.document(of: chunk), of: shard, stream: &stream)
    let pieces = shards[otherShard].chunks.pieces(ofDocument: document)
    let start = pieces.lowerBound + Int(stream.next(below: UInt32(pieces.count)))
    let target = chunks.target(of: chunk) - firstLength
    var second = try tokens(of: start..<start + 1, in: otherShard)
    for piece in start + 1..<pieces.upperBound where second.tokens.count < target {
      second = try tokens(of: start..<piece + 1, in: otherShard)
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

  /// Where consecutive pieces, at least one, stand: sentence follows upon sentence in a shard.
  private func tokens(of pieces: Range<Int>, in shard: Int) throws(CorpusError) -> TokenRange {
    let (table, dataset) = (shards[shard].chunks.pieces, shards[shard].dataset)
    let lower = try table.tokens(of: pieces.lowerBound, in: dataset).lowerBound
    let upper = try table.tokens(of: pieces.upperBound - 1, in: dataset).upperBound
    guard lower < upper else { throw .changedWhileOpen(file: shards[shard].dataset.idxPath) }
    return TokenRange(shard: shard, tokens: lower..<upper)
  }

  private func tokens(_ range: TokenRange) throws(CorpusError) -> [Int32] {
    try shards[range.shard].dataset.tokens(range.tokens, of: corpus.vocabulary)
  }

  // MARK: The sequence

  private func assemble(
    _ a: [Int32], _ b: [Int32], isRandom: Bool, maskStream: RandomStream
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
