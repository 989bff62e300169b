import BinaryModel
import Coordinator
import RunSettings

/// The training batches of a run: a pure function of the configuration, the samples, the step and the lane.
public struct BatchSource<Labels: BatchLabels>: Sendable {
  public let schedule: Schedule
  private let samples: any Samples<Labels>

  /// - Throws: `TrainingError.module` with a `ScheduleError` when there are too few samples.
  public init(_ configuration: RunConfiguration, _ samples: any Samples<Labels>) throws(TrainingError) {
    self.samples = samples
    let counts = samples.shards.map(\.count)
    schedule = try inModule { () throws(ScheduleError) in
      try Schedule(
        shardSampleCounts: counts, seed: configuration.seed, globalBatch: configuration.training.globalBatch,
        microBatch: configuration.training.microBatch)
    }
  }

  /// The shards that the samples lie in, in the order of `Schedule.shards`.
  public var shardNames: [String] { samples.shards.map(\.name) }

  /// The micro-batch of `lane` in the update number `step`, from 1.
  ///
  /// - Throws: `TrainingError.module` where the samples cannot be read.
  /// - Cost: reads the samples; allocates the batch.
  public func batch(step: Int, lane: Int) throws(TrainingError) -> Batch<Labels> {
    let places = (0..<schedule.microBatch).map { schedule.sample(step: step - 1, lane: lane, index: $0) }
    return try samples.batch(places.map(\.sample), epoch: places[0].epoch)
  }

  /// See `Samples.verifyInBackground`.
  func verifyInBackground(part: Int, of parts: Int) { samples.verifyInBackground(part: part, of: parts) }

  /// Which of the tokens that the samples are cut from are read: none so far.
  func makeCoverage() -> (any SampleCoverage)? { samples.makeCoverage() }

  /// Asks the system for what `lane` reads in the update number `step`.
  func prefetch(step: Int, lane: Int) {
    samples.prefetch(
      (0..<schedule.microBatch).map { schedule.sample(step: step - 1, lane: lane, index: $0).sample })
  }
}

/// The batches on which a run is evaluated: held-out samples, spread evenly, the same every time.
public struct HeldOutBatches<Labels: BatchLabels>: Sendable {
  private let samples: any Samples<Labels>
  private let microBatch: Int
  /// The samples read, see `Samples.spread`.
  public let sampleIDs: [UInt64]

  public init(_ configuration: RunConfiguration, _ samples: any Samples<Labels>) {
    self.samples = samples
    microBatch = configuration.training.microBatch
    sampleIDs = samples.spread(configuration.evaluation.sequences)
  }

  /// The number of micro-batches; the last may be filled up with sequences that do not count.
  public var count: Int { (sampleIDs.count + microBatch - 1) / microBatch }

  /// Sequences of a micro-batch that count.
  func count(_ index: Int) -> Int { min(microBatch, sampleIDs.count - index * microBatch) }

  /// - Throws: `TrainingError.module` where the samples cannot be read.
  public func batch(_ index: Int) throws(TrainingError) -> Batch<Labels> {
    let ids = Array(sampleIDs[index * microBatch..<min(sampleIDs.count, (index + 1) * microBatch)])
    let batch = try samples.batch(ids, epoch: 0)
    if ids.count == microBatch { return batch }
    var filler = try samples.batch([ids[0]], epoch: 0)
    filler.labels = filler.labels.ignored
    return Batch(joining: [batch] + Array(repeating: filler, count: microBatch - ids.count))
  }
}
