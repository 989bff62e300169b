import BinaryModel
import Coordinator
import Corpora
import RunSettings

/// The training batches of a run: a pure function of the configuration, the corpus, the step and the lane.
public struct BatchSource: Sendable {
  public let schedule: Schedule
  private let samples: SampleSource

  /// - Throws: `TrainingError.module` with a `CorpusError`, or a `ScheduleError` when there are too few samples.
  public init(_ configuration: RunConfiguration, corpus: Corpus) throws(TrainingError) {
    samples = try inModule { () throws(CorpusError) in
      try SampleSource(
        corpus: corpus, split: .training, sequenceLength: configuration.data.sequenceLength,
        seed: configuration.seed)
    }
    let counts = samples.shardSampleCounts
    schedule = try inModule { () throws(ScheduleError) in
      try Schedule(
        shardSampleCounts: counts, seed: configuration.seed, globalBatch: configuration.training.globalBatch,
        microBatch: configuration.training.microBatch)
    }
  }

  /// The micro-batch of `lane` in the update number `step`, from 1.
  ///
  /// - Throws: `TrainingError.module` where the corpus cannot be read.
  /// - Cost: reads the samples' tokens from mapped shards; allocates the batch.
  public func batch(step: Int, lane: Int) throws(TrainingError) -> Batch {
    let places = (0..<schedule.microBatch).map { schedule.sample(step: step - 1, lane: lane, index: $0) }
    return try makeBatch(samples, ids: places.map(\.sample), epoch: places[0].epoch)
  }

  /// Which of the corpus' training tokens are read: none so far.
  public func makeCoverage() -> TokenCoverage { TokenCoverage(samples) }

  /// Counts the tokens that the update number `step`, from 1, reads.
  ///
  /// - Throws: `TrainingError.module` where the corpus cannot be read.
  /// - Cost: a few look-ups a sample; reads no token.
  public func add(step: Int, to coverage: inout TokenCoverage) throws(TrainingError) {
    for lane in 0..<schedule.lanes {
      for index in 0..<schedule.microBatch {
        let (epoch, sample) = schedule.sample(step: step - 1, lane: lane, index: index)
        coverage.add(try inModule { () throws(CorpusError) in try samples.pair(sample, epoch: epoch) })
      }
    }
  }

  /// Asks the system for what `lane` reads in the update number `step`.
  func prefetch(step: Int, lane: Int) {
    samples.prefetch(
      (0..<schedule.microBatch).map { schedule.sample(step: step - 1, lane: lane, index: $0).sample })
  }
}

/// The batches on which a run is evaluated: held-out samples, spread evenly, the same every time.
public struct HeldOutBatches: Sendable {
  private let samples: SampleSource
  private let microBatch: Int
  /// The samples read, at most `evaluation.sequences`.
  public let sampleIDs: [UInt64]

  /// - Throws: `TrainingError.module` with a `CorpusError`.
  public init(_ configuration: RunConfiguration, corpus: Corpus) throws(TrainingError) {
    let samples = try inModule { () throws(CorpusError) in
      try SampleSource(
        corpus: corpus, split: .heldOut, sequenceLength: configuration.data.sequenceLength,
        seed: configuration.seed)
    }
    self.samples = samples
    microBatch = configuration.training.microBatch
    let count = min(configuration.evaluation.sequences, samples.count)
    sampleIDs = (0..<count).map { UInt64($0 * samples.count / count) }
  }

  /// The number of micro-batches; the last may be filled up with sequences that do not count.
  public var count: Int { (sampleIDs.count + microBatch - 1) / microBatch }

  /// - Throws: `TrainingError.module` where the corpus cannot be read.
  public func batch(_ index: Int) throws(TrainingError) -> Batch {
    let ids = sampleIDs[index * microBatch..<min(sampleIDs.count, (index + 1) * microBatch)]
    var batch = try makeBatch(
      samples, ids: ids + Array(repeating: ids[ids.startIndex], count: microBatch - ids.count), epoch: 0)
    for row in ids.count..<microBatch {
      batch.nextSentenceLabels[row] = Batch.ignored
      for token in row * batch.length..<(row + 1) * batch.length { batch.labels[token] = Batch.ignored }
    }
    return batch
  }
}

private func makeBatch(
  _ source: SampleSource, ids: [UInt64], epoch: UInt32
) throws(TrainingError) -> Batch {
  var (inputs, types, labels): ([Int32], [Int32], [Int32]) = ([], [], [])
  var (lengths, next): ([Int32], [Int32]) = ([], [])
  for id in ids {
    let sample = try inModule { () throws(CorpusError) in try source.sample(id, epoch: epoch) }
    inputs += sample.inputIDs
    types += sample.tokenTypeIDs
    labels += sample.labels
    lengths.append(Int32(sample.length))
    next.append(sample.nextSentenceLabel)
  }
  try inModule { () throws(CorpusError) in try source.checkShards(of: ids) }
  return Batch(
    sequences: ids.count, length: source.sequenceLength, inputIDs: inputs, tokenTypeIDs: types,
    lengths: lengths,
    labels: labels, nextSentenceLabels: next, sampleIDs: ids, epoch: epoch)
}
