import DurableFiles
import Foundation

extension Corpus {
  /// Makes a corpus of a folder of Megatron-LM shards, in place: checks them and adds the vocabulary and corpus.json.
  ///
  /// Shards whose names begin with `heldOutPrefix` are held out, all others are for training.
  ///
  /// - Throws: `corpusExists`, `noShards`, `unpairedShard`, `missingShards`, `outputOccupied` (another vocab.txt), what
  ///   `IndexedDataset` and `Vocabulary` throw, `tokenOutOfRange`, `cannotWrite`. The folder is then as it was.
  /// - Cost: reads every shard twice.
  public static func adopt(
    directory: String, vocabulary path: String, heldOutPrefix: String = "held-out"
  ) throws(CorpusError) -> Corpus {
    guard !heldOutPrefix.isEmpty else {
      throw .invalidOption(
        name: "--held-out-prefix", value: "\"\"", allowed: "the beginning of the held-out shards' names")
    }
    // Hidden files are none of ours: archives from a Mac hold a ._NAME for each NAME.
    let names = try reading { () throws(FileError) in try folderContents(directory) }.filter {
      !$0.hasPrefix(".")
    }
    if names.contains(CorpusDescription.fileName) { throw .corpusExists(directory: directory) }
    let vocabulary = try Vocabulary(path: path)
    let vocabularyCopy = directory + "/" + CorpusDescription.vocabularyFileName
    let hasVocabulary = fileExists(vocabularyCopy)
    if hasVocabulary,
      try reading({ () throws(FileError) in try fileDigest(vocabularyCopy) }) != vocabulary.digest
    {
      throw .outputOccupied(directory: directory, entry: "another " + CorpusDescription.vocabularyFileName)
    }
    var shards: [ShardInformation] = []
    for name in names where name.hasSuffix(".idx") || name.hasSuffix(".bin") {
      let shard = String(name.dropLast(4))
      let partner = shard + (name.hasSuffix(".idx") ? ".bin" : ".idx")
      guard names.contains(partner) else {
        throw .unpairedShard(file: "\(directory)/\(name)", missing: partner)
      }
      guard name.hasSuffix(".idx") else { continue }
      shards.append(
        try inspect(
          shard, in: directory, vocabulary: vocabulary,
          split: shard.hasPrefix(heldOutPrefix) ? .heldOut : .training))
    }
    guard !shards.isEmpty else { throw .noShards(directory: directory) }
    for split in CorpusSplit.allCases where !shards.contains(where: { $0.split == split }) {
      throw .missingShards(directory: directory, split: split, prefix: heldOutPrefix)
    }
    let description = CorpusDescription(
      vocabulary: vocabulary,
      shards: shards.filter { $0.split == .training } + shards.filter { $0.split == .heldOut },
      build: nil)
    try writing { () throws(FileError) in
      if !hasVocabulary { try replaceFile(vocabularyCopy, with: vocabulary.bytes) }
      do throws(FileError) {
        try replaceFile(directory + "/" + CorpusDescription.fileName, with: encodeJSON(description))
      } catch {
        if !hasVocabulary { unlink(vocabularyCopy) }
        throw error
      }
    }
    return try Corpus(directory: directory)
  }

  private static func inspect(
    _ name: String, in directory: String, vocabulary: Vocabulary, split: CorpusSplit
  ) throws(CorpusError) -> ShardInformation {
    let dataset = try IndexedDataset(prefix: directory + "/" + name)
    let unknown = try countUnknown(dataset, vocabulary: vocabulary)
    return ShardInformation(
      name: name, split: split, sequences: dataset.sequenceCount, documents: dataset.documentCount,
      tokens: dataset.tokenCount, unknownTokens: unknown,
      bin: try FileInformation(of: dataset.binPath), idx: try FileInformation(of: dataset.idxPath))
  }
}
