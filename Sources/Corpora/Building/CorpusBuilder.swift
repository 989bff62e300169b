import DurableFiles
import Foundation
import Kernels

/// Builds a corpus from text: `bipft corpus build`.
public struct CorpusBuilder: Sendable {
  /// Text files and JSON lines, in the order of their documents.
  public var inputs: [String]
  /// How text stands in them.
  public var format: TextFormat
  /// What happens to documents that are not valid text.
  public var invalid: InvalidText
  public var vocabulary: String
  public var output: String
  /// The share of the documents that is held out, between 0 and 1.
  public var heldOut: Double
  /// A shard is closed after the document with which it reaches this many tokens.
  public var shardTokens: Int
  /// Chooses the held-out documents.
  public var seed: UInt64
  /// Whether an earlier corpus at `output` is replaced.
  public var overwrite: Bool

  public init(
    inputs: [String], vocabulary: String, output: String, heldOut: Double = 0.01,
    shardTokens: Int = 16_777_216,
    seed: UInt64 = 0, overwrite: Bool = false, format: TextFormat = .auto, invalid: InvalidText = .fail
  ) {
    self.inputs = inputs
    self.format = format
    self.invalid = invalid
    self.vocabulary = vocabulary
    self.output = output
    self.heldOut = heldOut
    self.shardTokens = shardTokens
    self.seed = seed
    self.overwrite = overwrite
  }

  /// What has been done so far, for a progress display.
  public struct Progress: Sendable {
    public let bytes: Int
    public let totalBytes: Int
    public let documents: Int
    public let tokens: Int
  }

  /// Documents that are encoded at once: enough bytes to keep all cores busy.
  private static let batchBytes = 4 << 20

  /// Builds the corpus. It appears at `output` whole or not at all; the same inputs give the same bytes on any number of cores.
  ///
  /// - Parameters:
  ///   - progress: called after each few megabytes.
  ///   - isInterrupted: asked as often; true ends the build with `interrupted`.
  ///   - note: called at the end with what a person should know, a line each: as what the files were read, and what was invalid.
  /// - Throws: `CorpusError` for anything wrong with options, inputs, vocabulary or output.
  /// - Cost: a few MB/s of text a core; memory for one batch of documents and 4 bytes a sentence of the open shards.
  public func build(
    progress: (Progress) -> Void = { _ in }, isInterrupted: () -> Bool = { false },
    note: (String) -> Void = { _ in }
  ) throws(CorpusError) -> Corpus {
    guard heldOut > 0, heldOut < 1 else {
      throw .invalidOption(
        name: "--held-out", value: "\(heldOut)", allowed: "a share between 0 and 1, such as 0.01")
    }
    guard shardTokens >= 1 else {
      throw .invalidOption(name: "--shard-tokens", value: "\(shardTokens)", allowed: "at least 1")
    }
    guard !inputs.isEmpty else {
      throw .invalidOption(name: "--input", value: "", allowed: "at least one file")
    }
    if output.isEmpty {
      throw .invalidOption(name: "--output", value: "", allowed: "the name of a folder")
    }
    let vocabulary = try Vocabulary(path: vocabulary)
    var totalBytes = 0
    for input in inputs { totalBytes += try reading { () throws(FileError) in try InputFile(input).size() } }
    let staged = try StagedDirectory(for: output, overwrite: overwrite)

    let encoder = DocumentEncoder(tokenizer: WordPieceTokenizer(vocabulary: vocabulary), invalid: invalid)
    let reader = DocumentReader(inputs, format: format)
    var report = BuildReport()
    var training = ShardSeries(
      .training, in: staged.path, limit: shardTokens, vocabularyCount: vocabulary.count)
    var held = ShardSeries(.heldOut, in: staged.path, limit: shardTokens, vocabularyCount: vocabulary.count)
    let random = CounterRandom(seed: seed, purpose: .heldOut)
    var index: UInt64 = 0
    var tokens = 0
    while let batch = try nextBatch(reader) {
      if isInterrupted() { throw .interrupted }
      for document in try encoder.encode(batch) {
        var stream = random.stream(UInt32(truncatingIfNeeded: index), UInt32(truncatingIfNeeded: index >> 32))
        index += 1
        report.count(document)
        guard !document.lengths.isEmpty else { continue }
        tokens += document.tokens.count
        if Double(stream.next()) < heldOut * 0x1p32 {
          try held.append(document)
        } else {
          try training.append(document)
        }
      }
      progress(
        Progress(bytes: reader.bytesRead, totalBytes: totalBytes, documents: Int(index), tokens: tokens))
    }
    let trainingShards = try training.finish()
    let heldOutShards = try held.finish()
    if report.withText == 0 { throw .noText(files: inputs, documents: Int(index), leftOut: report.leftOut) }
    if index == 1, let file = inputs.first { throw .oneDocument(file: file) }
    for (split, shards) in [(CorpusSplit.training, trainingShards), (.heldOut, heldOutShards)]
    where shards.isEmpty {
      throw .missingSplit(split, documents: report.withText, heldOut: heldOut)
    }
    let description = CorpusDescription(
      vocabulary: vocabulary, shards: trainingShards + heldOutShards,
      build: CorpusDescription.Build(heldOut: heldOut, seed: seed))
    try writing { () throws(FileError) in
      try writeNewFile(staged.path + "/" + CorpusDescription.vocabularyFileName, vocabulary.bytes)
      try writeNewFile(staged.path + "/" + CorpusDescription.fileName, encodeJSON(description))
    }
    if isInterrupted() { throw .interrupted }
    try staged.commit()
    for line in report.lines(reader.formats) { note(line) }
    if staged.hasReplacedCurrentFolder {
      note("the current folder was replaced; a shell sees the new one after: cd \"$PWD\"")
    }
    return try Corpus(directory: output)
  }

  private func nextBatch(_ reader: DocumentReader) throws(CorpusError) -> [RawDocument]? {
    var batch: [RawDocument] = []
    var bytes = 0
    while bytes < Self.batchBytes, let document = try reader.next() {
      batch.append(document)
      bytes += document.bytes.count
    }
    return batch.isEmpty ? nil : batch
  }
}

/// The shards of one split, one after the other.
private struct ShardSeries {
  private let split: CorpusSplit
  private let directory: String
  private let limit: Int
  private let vocabularyCount: Int
  private var writer: IndexedDatasetWriter?
  /// [UNK] of the open shard.
  private var unknown = 0
  private var finished: [ShardInformation] = []

  init(_ split: CorpusSplit, in directory: String, limit: Int, vocabularyCount: Int) {
    self.split = split
    self.directory = directory
    self.limit = limit
    self.vocabularyCount = vocabularyCount
  }

  private var name: String {
    let number = String(finished.count)
    return
      "\(split == .training ? "train" : "held-out")-\(String(repeating: "0", count: max(0, 5 - number.count)))\(number)"
  }

  mutating func append(_ document: EncodedDocument) throws(CorpusError) {
    let open: IndexedDatasetWriter
    if let writer {
      open = writer
    } else {
      open = try IndexedDatasetWriter(prefix: "\(directory)/\(name)", vocabularyCount: vocabularyCount)
      writer = open
    }
    try open.append(lengths: document.lengths, tokens: document.tokens)
    unknown += document.unknown
    if open.tokenCount >= limit { try close(open) }
  }

  mutating func finish() throws(CorpusError) -> [ShardInformation] {
    if let writer { try close(writer) }
    return finished
  }

  private mutating func close(_ open: IndexedDatasetWriter) throws(CorpusError) {
    var shard = try open.finish(name: name, split: split)
    shard.unknownTokens = unknown
    finished.append(shard)
    (writer, unknown) = (nil, 0)
  }
}
