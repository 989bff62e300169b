import Collectives
import Coordinator
import Planning
import RunSettings

extension RunInputs {
  /// The schedule in words: its numbers, and which lanes and shards each of `ranks` has in `epoch` (from 0), in the order
  /// in which it comes to the shards.
  ///
  /// - Throws: `PlanningError.worldSize` in a `TrainingError.module` if so many ranks cannot share the lanes.
  /// - Cost: draws every pair of the epoch, without reading the tokens; a bit a token.
  public func schedulePlan(ranks: Int, epoch: UInt32) throws(TrainingError) -> String {
    try inModule { () throws(PlanningError) in try RunPlan.checkWorldSize(ranks, configuration) }
    let schedule = batches.schedule
    let names = batches.shardNames
    var lines = [schedule.plan(steps: configuration.training.steps).description]
    if var coverage = makeCoverage() {
      let steps = Int(epoch) * schedule.stepsPerEpoch
      for step in steps + 1...steps + schedule.stepsPerEpoch { try coverage.add(step: step, of: schedule) }
      lines.append(
        "epoch \(epoch) reads \(coverage.percentage) of the \(coverage.tokenCount) tokens; the pairs of other epochs read "
          + "others")
    }
    lines.append("epoch \(epoch), \(ranks) rank(s):")
    for rank in 0..<ranks {
      let lanes = evenRun(rank, of: ranks, total: configuration.laneCount)
      var shards: [Int] = []
      for lane in lanes {
        for shard in schedule.shards(lane: lane, epoch: epoch) where !shards.contains(shard) {
          shards.append(shard)
        }
      }
      let run = lanes.count == 1 ? "lane \(lanes.lowerBound)" : "lanes \(lanes.lowerBound) to \(lanes.last!)"
      lines.append("  rank \(rank): \(run); \(shards.map { names[$0] }.joined(separator: ", "))")
    }
    return lines.joined(separator: "\n")
  }
}
