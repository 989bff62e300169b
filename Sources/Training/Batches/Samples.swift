import BinaryModel
import Coordinator
import Corpora
import RunSettings

/// Labelled sequences to train on or to be evaluated on: a count, and sample number i in a given epoch, always the same. The
/// schedule, its audit and the reading ahead work on any.
public protocol Samples<Labels>: Sendable {
  associatedtype Labels: BatchLabels

  /// The files that the samples lie in, in their order, with how many each has. Samples are numbered through them.
  var shards: [(name: String, count: Int)] { get }

  /// One sequence with its labels. What is drawn for it depends on its number and the epoch alone.
  ///
  /// - Throws: `TrainingError` where it cannot be read.
  func sample(_ id: UInt64, epoch: UInt32) throws(TrainingError) -> Batch<Labels>

  /// Asks the system for what these samples will read.
  func prefetch(_ ids: [UInt64])

  /// To be called after these samples were read: throws if what they were read from has changed under the reader.
  func check(_ ids: [UInt64]) throws(TrainingError)

  /// Begins to compare what the samples are read from with its digests, on a thread of its own: this rank's part of it.
  /// `check` throws what that finds.
  func verifyInBackground(part: Int, of parts: Int)

  /// The samples that an evaluation reads where `limit` is the most it may: spread evenly.
  func spread(_ limit: Int) -> [UInt64]

  /// Of no sample yet; nil where samples are wholes of which nothing is left out.
  func makeCoverage() -> (any SampleCoverage)?
}

/// Which of the tokens that samples are cut from some samples hold.
public protocol SampleCoverage {
  /// Tokens that there are, and those that a sample added so far holds.
  var tokenCount: Int { get }
  var seenCount: Int { get }
  /// The share that has been seen, as "81.3 %".
  var percentage: String { get }

  /// Adds what a sample holds.
  ///
  /// - Throws: `TrainingError` where it cannot be read.
  mutating func add(_ id: UInt64, epoch: UInt32) throws(TrainingError)
}

extension SampleCoverage {
  /// Adds the samples of the update number `step`, from 1.
  mutating func add(step: Int, of schedule: Schedule) throws(TrainingError) {
    for lane in 0..<schedule.lanes {
      for index in 0..<schedule.microBatch where seenCount < tokenCount {
        let (epoch, sample) = schedule.sample(step: step - 1, lane: lane, index: index)
        try add(sample, epoch: epoch)
      }
    }
  }
}

extension Samples {
  public func prefetch(_ ids: [UInt64]) {}
  public func check(_ ids: [UInt64]) throws(TrainingError) {}
  public func verifyInBackground(part: Int, of parts: Int) {}
  public func makeCoverage() -> (any SampleCoverage)? { nil }

  public func spread(_ limit: Int) -> [UInt64] {
    let read = min(limit, count)
    return (0..<read).map { UInt64($0 * count / read) }
  }

  public var count: Int { shards.reduce(0) { $0 + $1.count } }

  /// These samples as one batch.
  func batch(_ ids: [UInt64], epoch: UInt32) throws(TrainingError) -> Batch<Labels> {
    var parts: [Batch<Labels>] = []
    for id in ids { parts.append(try sample(id, epoch: epoch)) }
    try check(ids)
    return Batch(joining: parts)
  }
}

/// The samples of pretraining: pairs of segments of a corpus, some tokens masked.
public struct PretrainingSamples: Samples {
  private let source: SampleSource

  /// - Throws: `TrainingError.module` with a `CorpusError`.
  public init(
    _ corpus: Corpus, split: CorpusSplit, configuration: RunConfiguration
  ) throws(TrainingError) {
    source = try inModule { () throws(CorpusError) in
      try SampleSource(
        corpus: corpus, split: split, sequenceLength: configuration.data.sequenceLength,
        seed: configuration.seed)
    }
  }

  public var shards: [(name: String, count: Int)] {
    zip(source.corpus.shards(source.split), source.shardSampleCounts).map { ($0.name, $1) }
  }

  public func sample(_ id: UInt64, epoch: UInt32) throws(TrainingError) -> PretrainingBatch {
    let sample = try inModule { () throws(CorpusError) in try source.sample(id, epoch: epoch) }
    return PretrainingBatch(
      sequences: 1, length: source.sequenceLength, inputIDs: sample.inputIDs,
      tokenTypeIDs: sample.tokenTypeIDs, lengths: [Int32(sample.length)], labels: sample.labels,
      nextSentenceLabels: [sample.nextSentenceLabel], sampleIDs: [id], epoch: epoch)
  }

  public func prefetch(_ ids: [UInt64]) { source.prefetch(ids) }

  public func check(_ ids: [UInt64]) throws(TrainingError) {
    try inModule { () throws(CorpusError) in try source.checkShards(of: ids) }
  }

  public func verifyInBackground(part: Int, of parts: Int) {
    source.corpus.verifyInBackground(part: part, of: parts)
  }

  public func makeCoverage() -> (any SampleCoverage)? {
    PretrainingCoverage(source: source, tokens: TokenCoverage(source))
  }
}

/// Which of a corpus' tokens the pairs of some samples hold.
private struct PretrainingCoverage: SampleCoverage {
  let source: SampleSource
  var tokens: TokenCoverage

  var tokenCount: Int { tokens.tokenCount }
  var seenCount: Int { tokens.seenCount }
  var percentage: String { tokens.percentage }

  mutating func add(_ id: UInt64, epoch: UInt32) throws(TrainingError) {
    tokens.add(try inModule { () throws(CorpusError) in try source.pair(id, epoch: epoch) })
  }
}
