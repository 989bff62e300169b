import BinaryModel
import Collectives
import Coordinator
import Planning
import Telemetry

extension TrainingRun {
  /// Losses, shares and metrics on the held-out batches, shared among the ranks.
  ///
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
    let zero = inputs.layout.objective.noLosses(isDistilled: false)
    var losses: [(index: Int, losses: LossTerms)] = []
    var predictions: [(index: Int, predictions: [Prediction])] = []
    for (index, batch) in batches {
      progress.enter(.evaluation, detail: "batch \(index)")
      var (sums, rows) = (zero, [Prediction]())
      for slice in batch.slices(of: model.sequences) {
        let found = model.evaluate(parameters.view, batch: slice)
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
