import DurableFiles

/// The part of a corpus that a document belongs to.
public enum CorpusSplit: String, CaseIterable, Codable, Sendable {
  case training
  case heldOut = "held-out"
}

/// Size and SHA-256 of a file.
public struct FileInformation: Codable, Equatable, Sendable {
  public let bytes: Int
  /// 64 hexadecimal digits.
  public let sha256: String

  init(bytes: Int, sha256: String) {
    self.bytes = bytes
    self.sha256 = sha256
  }

  /// - Throws: `CorpusError.cannotRead`.
  /// - Cost: reads the file.
  init(of path: String) throws(CorpusError) {
    (bytes, sha256) = try reading { () throws(FileError) in (try fileSize(path), try fileDigest(path)) }
  }
}

/// One shard: a pair NAME.bin and NAME.idx.
public struct ShardInformation: Codable, Equatable, Sendable {
  public let name: String
  public let split: CorpusSplit
  /// Sentences.
  public let sequences: Int
  public let documents: Int
  public let tokens: Int
  /// How many of the tokens are [UNK]; nil where a version before 2 described them.
  public internal(set) var unknownTokens: Int?
  public let bin: FileInformation
  public let idx: FileInformation
}

/// What `corpus.json` holds. Its keys are in snake case, sorted.
///
/// Version 2 of the format counts the [UNK] of each shard (`unknown_tokens`); version 1 lacks that, and is read too.
public struct CorpusDescription: Codable, Equatable, Sendable {
  public struct VocabularyInformation: Codable, Equatable, Sendable {
    /// The file's name in the corpus folder.
    public let file: String
    public let tokens: Int
    public let sha256: String
  }

  public struct Totals: Codable, Equatable, Sendable {
    public let shards: Int
    public let sequences: Int
    public let documents: Int
    public let tokens: Int
    /// Nil where one of the shards does not tell.
    public let unknownTokens: Int?
  }

  /// How the corpus was built from text; absent where shards were adopted.
  public struct Build: Codable, Equatable, Sendable {
    /// The share of the documents that was to be held out, and the seed that chose them.
    public let heldOut: Double
    public let seed: UInt64
  }

  public let format: String
  public let formatVersion: Int
  public let tokenizer: String
  public let vocabulary: VocabularyInformation
  public let shards: [ShardInformation]
  public let totals: Totals
  public let build: Build?

  static let fileName = "corpus.json"
  static let vocabularyFileName = "vocab.txt"
  static let formatName = "bipft-corpus"
  static let currentVersion = 2
  static let readableVersions = 1...currentVersion
  static let tokenizerName = "bert-uncased-wordpiece"

  init(vocabulary: Vocabulary, shards: [ShardInformation], build: Build?) {
    format = Self.formatName
    formatVersion = Self.currentVersion
    tokenizer = Self.tokenizerName
    self.vocabulary = VocabularyInformation(
      file: Self.vocabularyFileName, tokens: vocabulary.count, sha256: vocabulary.digest)
    self.shards = shards
    totals = Totals(shards)
    self.build = build
  }

  /// Reads and checks a `corpus.json`.
  ///
  /// - Throws: `malformedDescription`.
  init(parsing bytes: [UInt8], file: String) throws(CorpusError) {
    do throws(JSONFault) { self = try decodeJSON(CorpusDescription.self, bytes) } catch {
      throw .malformedDescription(file: file, reason: error.reason)
    }
    guard format == Self.formatName else {
      throw .malformedDescription(file: file, reason: "format is \"\(format)\", not \"\(Self.formatName)\"")
    }
    guard Self.readableVersions.contains(formatVersion) else {
      throw .malformedDescription(
        file: file,
        reason: "format_version is \(formatVersion), this program reads 1 to \(Self.currentVersion)")
    }
    guard tokenizer == Self.tokenizerName else {
      throw .malformedDescription(
        file: file, reason: "tokenizer is \"\(tokenizer)\", not \"\(Self.tokenizerName)\"")
    }
    for name in shards.map(\.name) + [vocabulary.file]
    where name.isEmpty || name.hasPrefix(".") || name.contains("/") {
      throw .malformedDescription(file: file, reason: "\"\(name)\" is not the name of a file of the corpus")
    }
    guard Set(shards.map(\.name)).count == shards.count else {
      throw .malformedDescription(file: file, reason: "two shards have the same name")
    }
    for shard in shards {
      let counts = [shard.sequences, shard.documents, shard.tokens, shard.unknownTokens ?? 0]
      guard counts.allSatisfy({ $0 >= 0 }), shard.unknownTokens ?? 0 <= shard.tokens else {
        throw .malformedDescription(file: file, reason: "the counts of \(shard.name) cannot be")
      }
    }
    guard totals == Totals(shards) else {
      throw .malformedDescription(file: file, reason: "totals are not the sums over the shards")
    }
  }

  /// The names of all files of the corpus.
  var fileNames: [String] {
    shards.flatMap { ["\($0.name).bin", "\($0.name).idx"] } + [vocabulary.file, Self.fileName]
  }
}

extension CorpusDescription.Totals {
  init(_ shards: [ShardInformation]) {
    self.shards = shards.count
    sequences = shards.reduce(0) { $0 &+ $1.sequences }
    documents = shards.reduce(0) { $0 &+ $1.documents }
    tokens = shards.reduce(0) { $0 &+ $1.tokens }
    let unknown = shards.compactMap(\.unknownTokens)
    unknownTokens = unknown.count == shards.count ? unknown.reduce(0, &+) : nil
  }
}
