/// The sentences of one split of a corpus as sequences `[CLS] sentence [SEP]`, padded. A sample is one sentence; one of more than
/// T − 2 tokens is several, as equal as can be (`PieceTable`). Nothing is drawn, and nothing is left out.
///
/// Legend: T tokens of a sequence.
public struct SentenceSource: Sendable {
  public struct Sentence: Equatable, Sendable {
    /// T token ids, after the real ones [PAD].
    public let inputIDs: [Int32]
    /// Number of real tokens.
    public let length: Int
  }

  public let corpus: Corpus
  public let split: CorpusSplit
  /// T.
  public let sequenceLength: Int
  /// Number of samples of each shard, in the order of corpus.json.
  public var shardSampleCounts: [Int] { shards.map(\.pieces.count) }

  private let shards: [(dataset: IndexedDataset, pieces: PieceTable)]
  /// Samples of all shards before each.
  private let bases: [Int]

  /// - Throws: what `Corpus.open` throws.
  /// - Cost: reads each .idx; 12 bytes a sentence that is cut.
  public init(corpus: Corpus, split: CorpusSplit, sequenceLength: Int) throws(CorpusError) {
    precondition(sequenceLength > 2 && sequenceLength < 1 << 31, "a sequence length of \(sequenceLength)")
    self.corpus = corpus
    self.split = split
    self.sequenceLength = sequenceLength
    let longest = sequenceLength - 2
    var shards: [(dataset: IndexedDataset, pieces: PieceTable)] = []
    var bases: [Int] = []
    var total = 0
    for information in corpus.shards(split) {
      let dataset = try corpus.open(information)
      var pieces = PieceTable(longest: longest, pieceLength: longest)
      for sentence in 0..<dataset.sequenceCount {
        _ = pieces.append(sentence, length: dataset.length(of: sentence))
      }
      bases.append(total)
      total += pieces.count
      shards.append((dataset, pieces))
    }
    self.shards = shards
    self.bases = bases
  }

  /// Makes a sample.
  ///
  /// - Throws: `tokenOutOfRange` where a shard holds a token that the vocabulary lacks, `changedWhileOpen` where an index is no
  ///   longer as it was opened.
  public func sentence(_ id: UInt64) throws(CorpusError) -> Sentence {
    let (dataset, tokens) = try place(id)
    let vocabulary = corpus.vocabulary
    let ids =
      [vocabulary.classification] + (try dataset.tokens(tokens, of: vocabulary)) + [vocabulary.separator]
    return Sentence(
      inputIDs: ids + repeatElement(vocabulary.padding, count: sequenceLength - ids.count),
      length: ids.count)
  }

  /// Throws `wrongSize` if a shard of these samples was cut off or has grown since it was opened, and what the verification in
  /// the background has found.
  public func checkShards(of ids: [UInt64]) throws(CorpusError) {
    try corpus.checkBackground()
    for shard in Set(ids.map { bases.lastIndexOfNotGreater(than: Int($0)) }).sorted() {
      try shards[shard].dataset.checkSizes()
    }
  }

  private func place(_ id: UInt64) throws(CorpusError) -> (dataset: IndexedDataset, tokens: Range<Int>) {
    let shard = bases.lastIndexOfNotGreater(than: Int(id))
    let (dataset, pieces) = shards[shard]
    return (dataset, try pieces.tokens(of: Int(id) - bases[shard], in: dataset))
  }
}
