import Kernels

/// How the sentences of one shard group into chunks, the raw material of samples.
///
/// Within a document consecutive sentences accumulate until the chunk's target length is reached or the document ends; a
/// sentence longer than a sample counts as several (`PieceTable`). The target is T − 3 tokens (room for [CLS] and two [SEP]),
/// but for one chunk in ten it is uniform in 2 ... T − 3, so that short sequences occur. The chunks tile the document and do
/// not depend on the epoch.
///
/// Source: `create_instances_from_document` of google-research/bert `create_pretraining_data.py` (Devlin et al. 2019), which
/// draws one target a document and one pass; here each chunk draws its own, keyed by (shard, document, chunk of the document).
///
/// - Cost: 4 bytes a chunk and a document, and the `PieceTable`.
struct ChunkTable: Sendable {
  /// The first piece of each chunk, ascending; a chunk ends where the next begins.
  let firstPieces: [UInt32]
  /// The first piece of each document that has any.
  let documents: [UInt32]
  let pieces: PieceTable

  private let shard: UInt32
  private let random: CounterRandom

  var count: Int { firstPieces.count }

  /// - Parameters:
  ///   - shard: the shard's place among those of its split.
  ///   - longest: T − 3.
  /// - Throws: `tooManyPieces` for a shard of 2³² pieces or more.
  /// - Cost: O(sentences and pieces).
  init(_ dataset: IndexedDataset, shard: Int, longest: Int, seed: UInt64) throws(CorpusError) {
    let random = CounterRandom(seed: seed, purpose: .chunkTarget)
    var pieces = PieceTable(longest: longest)
    var firstPieces: [UInt32] = []
    var documents: [UInt32] = []
    for document in 0..<dataset.documentCount {
      let sentences = dataset.sequences(of: document)
      guard !sentences.isEmpty else { continue }
      let number = UInt32(documents.count)
      documents.append(UInt32(pieces.count))
      var ordinal: UInt32 = 0
      var (target, chunkLength) = (0, 0)
      for sentence in sentences {
        let length = dataset.length(of: sentence)
        let first = pieces.count
        let count = pieces.append(sentence, length: length)
        guard pieces.count <= UInt32.max else { throw .tooManyPieces(file: dataset.idxPath) }
        for index in 0..<count {
          if chunkLength == 0 {
            firstPieces.append(UInt32(first + index))
            target = Self.target(random.stream(UInt32(shard), number, ordinal), longest: longest)
            ordinal += 1
          }
          chunkLength +=
            PieceTable.bound(index + 1, of: count, length: length)
            - PieceTable.bound(index, of: count, length: length)
          if chunkLength >= target { chunkLength = 0 }
        }
      }
    }
    self.pieces = pieces
    self.firstPieces = firstPieces
    self.documents = documents
    self.shard = UInt32(shard)
    self.random = random
  }

  /// The pieces of a chunk.
  func pieces(of chunk: Int) -> Range<Int> {
    let end = chunk + 1 < firstPieces.count ? Int(firstPieces[chunk + 1]) : pieces.count
    return Int(firstPieces[chunk])..<end
  }

  /// The pieces of a document, numbered among those that have any.
  func pieces(ofDocument document: Int) -> Range<Int> {
    let end = document + 1 < documents.count ? Int(documents[document + 1]) : pieces.count
    return Int(documents[document])..<end
  }

  /// The document that a chunk belongs to.
  func document(of chunk: Int) -> Int { documents.lastIndexOfNotGreater(than: firstPieces[chunk]) }

  /// The length in tokens that a chunk was to reach.
  func target(of chunk: Int) -> Int {
    let document = document(of: chunk)
    let ordinal = chunk - firstPieces.firstIndexOfNotLess(than: documents[document])
    return Self.target(
      random.stream(shard, UInt32(document), UInt32(ordinal)), longest: pieces.longest)
  }

  private static func target(_ stream: RandomStream, longest: Int) -> Int {
    var stream = stream
    return stream.next(below: 10) == 0 ? 2 + Int(stream.next(below: UInt32(longest - 1))) : longest
  }
}
