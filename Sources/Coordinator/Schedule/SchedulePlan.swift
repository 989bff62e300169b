/// A schedule in numbers, for the plan that a dry run prints.
public struct SchedulePlan: Codable, Equatable, Sendable, CustomStringConvertible {
  public let shards: Int
  public let samples: Int
  public let lanes: Int
  public let microBatch: Int
  public let stepsPerEpoch: Int
  /// Samples that each epoch leaves out.
  public let tail: Int
  public let steps: Int
  /// Epochs that `steps` make, the last perhaps a part.
  public let epochs: Double

  public var description: String {
    "\(samples) samples in \(shards) shard(s); \(lanes) lane(s) of \(microBatch); \(stepsPerEpoch) steps an epoch, "
      + "\(tail) samples left out of each; \(steps) steps are \((epochs * 100).rounded() / 100) epochs"
  }
}

extension Schedule {
  /// What a run of `steps` steps will do.
  public func plan(steps: Int) -> SchedulePlan {
    SchedulePlan(
      shards: shardSampleCounts.count, samples: sampleCount, lanes: lanes, microBatch: microBatch,
      stepsPerEpoch: stepsPerEpoch, tail: tail, steps: steps, epochs: Double(steps) / Double(stepsPerEpoch))
  }
}
