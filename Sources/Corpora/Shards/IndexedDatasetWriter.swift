/// Writes a Megatron-LM indexed dataset (layout: `IndexedDataset`) document by document.
///
/// - Cost: keeps four bytes a sequence and eight a document until `finish`.
public final class IndexedDatasetWriter {
  /// Tokens written so far.
  public private(set) var tokenCount = 0
  public var sequenceCount: Int { lengths.count }
  public var documentCount: Int { documentBounds.count - 1 }

  private let prefix: String
  private let tokenType: IndexedDataset.TokenType
  private let bin: OutputFile
  private var lengths: [Int32] = []
  private var documentBounds: [Int64] = [0]

  /// Creates PREFIX.bin for tokens of a vocabulary of `vocabularyCount`.
  ///
  /// - Throws: `cannotWrite`, also when the file exists.
  public init(prefix: String, vocabularyCount: Int) throws(CorpusError) {
    self.prefix = prefix
    tokenType = IndexedDataset.TokenType(vocabulary: vocabularyCount)
    bin = try OutputFile(creating: prefix + ".bin")
  }

  /// Appends a document of sequences given by their lengths (each at least 1) and their concatenated tokens.
  public func append(lengths: [Int32], tokens: [Int32]) throws(CorpusError) {
    precondition(lengths.allSatisfy { $0 > 0 }, "an empty sequence")
    precondition(
      lengths.reduce(0) { $0 + Int($1) } == tokens.count, "lengths that do not sum to \(tokens.count)")
    switch tokenType {
    case .int32: try bin.write(integers: tokens)
    case .uint16: try bin.write(integers: tokens.lazy.map { UInt16($0) })
    }
    self.lengths += lengths
    documentBounds.append(Int64(self.lengths.count))
    tokenCount += tokens.count
  }

  /// Completes PREFIX.bin, writes PREFIX.idx, and brings both to the disk.
  public func finish(name: String, split: CorpusSplit) throws(CorpusError) -> ShardInformation {
    let binInformation = try bin.finish()
    let idx = try OutputFile(creating: prefix + ".idx")
    try idx.write(IndexedDataset.magic)
    try idx.write(integers: [IndexedDataset.version])
    try idx.write([tokenType.rawValue])
    try idx.write(integers: [UInt64(lengths.count), UInt64(documentBounds.count)])
    try idx.write(integers: lengths)
    var offset: Int64 = 0
    for length in lengths {
      try idx.write(integers: CollectionOfOne(offset))
      offset += Int64(length) * Int64(tokenType.width)
    }
    try idx.write(integers: documentBounds)
    return ShardInformation(
      name: name, split: split, sequences: sequenceCount, documents: documentCount, tokens: tokenCount,
      unknownTokens: nil, bin: binInformation, idx: try idx.finish())
  }
}
