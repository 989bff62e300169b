import DurableFiles

/// A tokenised corpus: a folder with `corpus.json`, the vocabulary and pairs of shard files.
public struct Corpus: Sendable {
  public let directory: String
  public let vocabulary: Vocabulary
  public let description: CorpusDescription
  /// SHA-256 of corpus.json, 64 hexadecimal digits; with `verify`, of the whole corpus.
  public let digest: String
  private let background = ShardVerification()

  /// Opens a corpus: reads corpus.json and the vocabulary, and checks that every shard file has its size.
  ///
  /// - Throws: `notACorpus`, `malformedDescription`, `wrongDigest` (vocabulary), `cannotRead`, `wrongSize`.
  public init(directory: String) throws(CorpusError) {
    let file = directory + "/" + CorpusDescription.fileName
    guard fileExists(file) else { throw .notACorpus(directory: directory) }
    let bytes = try reading { () throws(FileError) in try readFile(file) }
    self.directory = directory
    description = try CorpusDescription(parsing: bytes, file: file)
    digest = SHA256.digest(bytes)
    let vocabularyPath = directory + "/" + description.vocabulary.file
    vocabulary = try Vocabulary(path: vocabularyPath)
    guard vocabulary.digest == description.vocabulary.sha256 else {
      throw .wrongDigest(
        file: vocabularyPath, expected: description.vocabulary.sha256, found: vocabulary.digest)
    }
    for (path, information) in files {
      let size = try reading { () throws(FileError) in try fileSize(path) }
      guard size == information.bytes else {
        throw .wrongSize(file: path, expected: information.bytes, found: size)
      }
    }
  }

  /// The shards of a split, in the order of corpus.json.
  public func shards(_ split: CorpusSplit) -> [ShardInformation] {
    description.shards.filter { $0.split == split }
  }

  /// Opens one shard and compares it with corpus.json.
  ///
  /// - Throws: what `IndexedDataset` throws, `damagedIndex` where the counts differ.
  public func open(_ shard: ShardInformation) throws(CorpusError) -> IndexedDataset {
    let dataset = try IndexedDataset(prefix: directory + "/" + shard.name)
    guard
      dataset.sequenceCount == shard.sequences, dataset.documentCount == shard.documents,
      dataset.tokenCount == shard.tokens
    else {
      throw .damagedIndex(
        file: dataset.idxPath,
        reason:
          "\(dataset.sequenceCount) sequences, \(dataset.documentCount) documents and \(dataset.tokenCount) tokens, "
          + "corpus.json says \(shard.sequences), \(shard.documents) and \(shard.tokens)")
    }
    return dataset
  }

  /// The [UNK] tokens of each split: as corpus.json has them, else counted.
  ///
  /// - Throws: what `open` throws, `tokenOutOfRange`.
  /// - Cost: reads the shards of a corpus that a version before 2 of the format describes.
  public func unknownTokens(_ split: CorpusSplit) throws(CorpusError) -> Int {
    var sum = 0
    for shard in shards(split) {
      if let unknown = shard.unknownTokens {
        sum &+= unknown
      } else {
        sum += try countUnknown(open(shard), vocabulary: vocabulary)
      }
    }
    return sum
  }

  /// Checks every shard in full: digests, index, and that no token lies outside the vocabulary.
  ///
  /// - Throws: `wrongDigest`, `tokenOutOfRange` and what `open` throws, for the first file that is wrong.
  /// - Cost: reads everything twice.
  public func verify() throws(CorpusError) {
    for (path, information) in files {
      let found = try reading { () throws(FileError) in try fileDigest(path) }
      guard found == information.sha256 else {
        throw .wrongDigest(file: path, expected: information.sha256, found: found)
      }
    }
    for shard in description.shards { _ = try countUnknown(open(shard), vocabulary: vocabulary) }
  }

  /// Begins to compare shard files with their digests on a thread of its own, of the lowest priority: every `parts`-th shard from
  /// shard `part` on, the share of one of `parts` readers of this corpus. What it finds, `checkShards` of any `SampleSource` of
  /// this corpus throws from then on: damage in place, which leaves sizes and indices as they were, shows nowhere else.
  ///
  /// - Cost: reads the share once, a megabyte at a time: a second of one core for 1 to 2 GB, while others compute.
  public func verifyInBackground(part: Int, of parts: Int) {
    precondition(parts > 0 && part >= 0 && part < parts, "part \(part) of \(parts)")
    background.start(
      stride(from: part, to: description.shards.count, by: parts).flatMap {
        files(of: description.shards[$0])
      })
  }

  /// Throws what the verification in the background has found so far.
  ///
  /// - Cost: an atomic load.
  func checkBackground() throws(CorpusError) { try background.check() }

  private var files: [(path: String, information: FileInformation)] {
    description.shards.flatMap { files(of: $0) }
  }

  /// The two files of a shard.
  func files(of shard: ShardInformation) -> [(path: String, information: FileInformation)] {
    [("\(directory)/\(shard.name).bin", shard.bin), ("\(directory)/\(shard.name).idx", shard.idx)]
  }
}

/// How many tokens of a shard are [UNK].
///
/// - Throws: `tokenOutOfRange` for the first token that the vocabulary lacks.
func countUnknown(_ dataset: IndexedDataset, vocabulary: Vocabulary) throws(CorpusError) -> Int {
  let count = UInt32(vocabulary.count)
  var unknown = 0
  for sequence in 0..<dataset.sequenceCount {
    let tokens = try dataset.tokens(of: sequence)
    unknown += tokens.count { $0 == vocabulary.unknown }
    for token in tokens where UInt32(bitPattern: token) >= count {
      throw .tokenOutOfRange(
        file: dataset.binPath, sequence: sequence, token: Int(token), vocabulary: vocabulary.count)
    }
  }
  return unknown
}
