import BinaryModel
import Collectives
import Coordinator
import Planning
import Telemetry

extension TrainingRun {
  /// Losses, shares and metrics on the held-out batches, shared among the ranks: every term of the objective, the distance
  /// from a teacher too.
  ///
  /// - Cost: a forward pass of each held-out batch, and one of the teacher.
  /// - Parameter notice: asked for what to tell the other ranks once this one has done its batches.
  mutating func evaluate(
    world: borrowing World, notice: () -> StepNotice
  ) throws -> (record: StepRecord, notices: [StepNotice]) {
    progress.enter(.evaluation)
    let start = ContinuousClock.now
    let heldOut = inputs.heldOut
    let own = stride(from: world.rank, to: heldOut.count, by: world.size)
    let batches = try world.together { [progress] in
      let batches = try own.map { ($0, try heldOut.batch($0)) }
      progress.enter(.exchange, detail: "evaluation")
      return batches
    }
    let zero = inputs.layout.objective.noLosses(isDistilled: teacher != nil)
    var losses: [(index: Int, losses: LossTerms)] = []
    var predictions: [(index: Int, predictions: [Prediction])] = []
    for (index, batch) in batches {
      progress.enter(.evaluation, detail: "batch \(index)")
      var (sums, rows) = (zero, [Prediction]())
      // Sequences that fill the last batch up do not count.
      var counted = heldOut.count(index)
      for slice in batch.slices(of: model.sequences) {
        let found = model.evaluate(
          parameters.view, batch: slice, teacher: teacher?.forward(slice.tokens),
          counted: max(0, min(counted, model.sequences)))
        counted -= model.sequences
        sums += found.losses
        rows += found.predictions
      }
      losses.append((index, sums))
      predictions.append((index, rows))
    }
    FaultInjection.delay(before: "evaluated")
    progress.enter(.exchange, detail: "evaluation")
    let (total, notices) = try world.addInOrder(losses, zero: zero, notice: notice())
    let all = try world.gatherInOrder(predictions)
    let tokens = heldOut.sampleIDs.count * inputs.configuration.data.sequenceLength
    var record = StepRecord(
      .eval, step: step, total, learningRate: nil, gradientNorm: nil,
      tokensPerSecond: Double(tokens) / start.secondsUntilNow)
    record.metrics += inputs.layout.objective.metrics(all).map { StepRecord.Named($0.key, Float($0.value)) }
    return (record, notices)
  }
}
