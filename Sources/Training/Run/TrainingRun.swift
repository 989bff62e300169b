import BinaryModel
import Collectives
import Coordinator
import Kernels
import Planning
import Telemetry

/// A training run in progress on one rank, of any objective. Every method is collective: all ranks call it alike.
struct TrainingRun<Goal: Objective>: ~Copyable {
  typealias Labels = Goal.Labels

  let inputs: RunInputs<Goal>
  let identity: RunIdentity
  /// The flat vector of the layout. Sharded, pages of latent weights that other ranks own are never touched.
  let parameters: FloatBuffer
  var model: Model<Goal>
  let teacher: (any Teacher)?
  /// The gradient of the lane at work.
  private let laneGradient: LaneGradient
  let optimizer: ShardedOptimizer
  private let dropout: Dropout?
  private var batches: BatchReadAhead<Labels>
  private var lanes: LaneQueue
  /// Updates done, and what came of them.
  var course = RunCourse()
  /// The signs when vital signs were last taken, on rank 0.
  var earlierSigns: [UInt8]?
  /// Where this rank is, for the watchdog.
  let progress: RankProgress

  var step: Int { course.step }

  /// Allocates all memory of the run; the parameters are zero.
  init(
    _ inputs: RunInputs<Goal>, teacher: (any Teacher)?, progress: RankProgress, world: borrowing World
  ) throws {
    let configuration = inputs.configuration
    let hosts = try world.hostLayout()
    lanes = try LaneQueue(
      lanes: configuration.laneCount, isShared: configuration.lanes == .dynamic, world: world)
    self.inputs = inputs
    self.teacher = teacher
    self.progress = progress
    identity = inputs.identity()
    let layout = inputs.layout.parameters
    parameters = FloatBuffer(count: layout.elementCount)
    model = Model(
      inputs.layout, sequences: inputs.sliceSequences, length: configuration.data.sequenceLength,
      slices: configuration.training.microBatch / inputs.sliceSequences,
      backwardPrecision: configuration.training.backwardPrecision, seed: configuration.seed)
    batches = BatchReadAhead(lanes: lanes.own, lastStep: configuration.training.steps) {
      [source = inputs.batches] in
      source.prefetch(step: $0, lane: $1)
    } make: { [source = inputs.batches] step, lane throws(TrainingError) in
      try source.batch(step: step, lane: lane)
    }
    optimizer = ShardedOptimizer(
      layout: layout,
      trained: inputs.layout.objective.trainsEncoder ? 0..<layout.elementCount : inputs.layout.headRange,
      exchange: UpdateExchange(
        layout: layout, hosts: hosts, synchronisation: configuration.synchronisation,
        format: configuration.gradientFormat),
      rank: world.rank)
    laneGradient = LaneGradient(inputs.layout, format: configuration.gradientFormat, into: optimizer.gradient)
    // Latent weights of other owners lie between one's own.
    let latent = optimizer.exchange.packed.latentRanges(in: 0..<parameters.count)
    if optimizer.updated.elementCount < parameters.count, let first = latent.first, let last = latent.last {
      parameters.useSmallPages(first.lowerBound..<last.upperBound)
    }
    dropout =
      configuration.model.dropout > 0
      ? Dropout(rate: configuration.model.dropout, seed: configuration.seed) : nil
  }

  // MARK: One update

  /// What one step came to, the same on all ranks but for times.
  struct Update {
    let record: StepRecord
    /// Of all ranks.
    let notices: [StepNotice]
    /// Why nothing was updated, if so.
    let skipped: String?
  }

  /// One update: lanes, as this rank gets them, the exchange, AdamW. Where the loss or the gradient is not finite, or the loss is a
  /// spike, the step counts and nothing is updated, on all ranks alike. Where the sums of the gradient do not fit, the lanes
  /// are done again.
  ///
  /// - Parameters:
  ///   - stateWillChange: called before weights and moments change.
  ///   - notice: asked for what to tell the other ranks once the lanes are done.
  /// - Cost: forward and backward of the lanes; the exchange of `UpdateExchange`. Allocates a few kilobytes for what is
  ///   read, exchanged and recorded; the model and the optimizer allocate nothing.
  mutating func update(
    world: borrowing World, stateWillChange: () -> Void, notice: () -> StepNotice
  ) throws -> Update {
    var watch = StepWatch(step: step + 1, rank: world.rank, progress)
    let batches = try read(&watch, world: world)
    let divisors = try count(batches, &watch, world: world)
    watch.faults.shrinkPowers(of: optimizer.gradient)
    let training = inputs.configuration.training
    var applied = Applied(
      learningRate: training.schedule.rate(step: step + 1),
      stepSizeLearningRate: training.stepSizeSchedule.rate(step: step + 1))
    var repeats = -1
    var lossesAndNotices: (total: LossTerms, notices: [StepNotice])
    repeat {
      repeats += 1
      var losses = try train(batches, divisors: divisors, &watch, world: world)
      lossesAndNotices = try exchange(&losses, notice: notice(), &watch, world: world)
      try lanes.refill(world: world)
      watch.bytesBefore = world.bytesSent
      applied.skipped = course.reasonToSkip(
        lossesAndNotices.total.total, limit: inputs.configuration.training.spikeZScore)
    } while try applied.skipped == nil && mustRepeat(&applied, &watch, world: world)
    let (total, notices) = lossesAndNotices
    if applied.skipped == nil {
      try apply(&applied, stateWillChange: stateWillChange, &watch, world: world)
    }
    course.advance(by: inputs.batches.schedule, loss: total.total, skipped: applied.skipped)
    watch.faults.afterUpdate(model)
    var record = try record(total, applied, &watch, world: world)
    record.measured.append(StepRecord.Extra("repeated_sums", .integer(repeats)))
    return Update(record: record, notices: notices, skipped: applied.skipped)
  }

  /// This rank's batches of the next step. An error of any rank ends all.
  private mutating func read(_ watch: inout StepWatch, world: borrowing World) throws -> [Batch<Labels>] {
    watch.enter(.reading)
    watch.faults.beforeReading()
    let batches = try take(watch.faults)
    // Whether all ranks could read was exchanged by `together` below; waiting for them is exchange.
    watch.enter(.exchange, "batches")
    return try world.together { try batches.get() }
  }

  private mutating func take(_ faults: StepFaults) throws -> Result<[Batch<Labels>], any Error> {
    do {
      try faults.whileReading()
      return .success(try batches.take(step: step + 1))
    } catch {
      return .failure(error)
    }
  }

  /// What the losses of the step are divided by.
  private func count(
    _ batches: [Batch<Labels>], _ watch: inout StepWatch, world: borrowing World
  ) throws -> LossDivisors {
    let own = inputs.layout.objective.divisors(of: batches)
    return LossDivisors(
      sequences: inputs.configuration.training.globalBatch, counts: try world.add(own.counts))
  }

  /// Forward and backward of the lanes of the next step that this rank gets.
  private mutating func train(
    _ batches: [Batch<Labels>], divisors: LossDivisors, _ watch: inout StepWatch, world: borrowing World
  ) throws -> [(index: Int, losses: LossTerms)] {
    var losses: [(index: Int, losses: LossTerms)] = []
    watch.clock.enter(.update)
    optimizer.gradient.clear()
    while let lane = try next(&watch, world: world) {
      let batch =
        lanes.own.contains(lane)
        ? batches[lane - lanes.own.lowerBound] : try inputs.batches.batch(step: step + 1, lane: lane)
      watch.enter(.backward, "lane \(lane)")
      var sums = inputs.layout.objective.noLosses(isDistilled: teacher != nil)
      for slice in batch.slices(of: model.sequences) {
        watch.clock.enter(.teacher)
        let output = teacher?.forward(slice.tokens)
        var own = sums.zero
        model.train(
          parameters.view, gradients: laneGradient.values.view, sinks: laneGradient.sinks,
          batch: slice, divisors: divisors, dropout: dropout,
          teacher: output, into: &own
        ) { moment in
          watch.clock.note(moment)
          lanes.serve(world: world)
        }
        sums += own
        laneGradient.endSlice()
      }
      losses.append((lane, sums))
      watch.clock.enter(.update)
      laneGradient.endLane()
    }
    return losses
  }

  private mutating func next(_ watch: inout StepWatch, world: borrowing World) throws(WorldError) -> Int? {
    watch.enter(.exchange, "lanes")
    return try lanes.next(world: world)
  }

  private func exchange(
    _ losses: inout [(index: Int, losses: LossTerms)], notice: StepNotice, _ watch: inout StepWatch,
    world: borrowing World
  ) throws -> (total: LossTerms, notices: [StepNotice]) {
    watch.enter(.exchange, "losses")
    watch.faults.spoil(&losses)
    let zero = inputs.layout.objective.noLosses(isDistilled: teacher != nil)
    return try world.addInOrder(losses, zero: zero, notice: notice)
  }

  /// What became of a step's gradient.
  private struct Applied {
    let learningRate: Float
    let stepSizeLearningRate: Float
    var norm = Float.nan
    /// Why nothing was updated, if so.
    var skipped: String?
  }

  /// Whether the lanes have to be done again, since their sums do not fit.
  private func mustRepeat(
    _ applied: inout Applied, _ watch: inout StepWatch, world: borrowing World
  ) throws(WorldError) -> Bool {
    watch.enter(.exchange, "bounds of the gradient")
    switch try optimizer.gradient.agree(world: world) {
    case .fits: return false
    case .raised: return true
    case .notFinite:
      applied.skipped = "the gradient is not finite"
      return false
    }
  }

  /// Reduces the gradient and updates the weights.
  private mutating func apply(
    _ applied: inout Applied, stateWillChange: () -> Void, _ watch: inout StepWatch, world: borrowing World
  ) throws {
    let training = inputs.configuration.training
    watch.enter(.exchange, "gradients")
    let faults = watch.faults
    try optimizer.gradient.reduce(world: world) { bucket in
      if bucket == 0 { faults.whileExchanging() }
      enter(bucket: bucket)
    }
    watch.enter(.exchange, "weights")
    stateWillChange()
    applied.norm = try optimizer.update(
      parameters.view, model: &model, step: step + 1,
      rates: (stepSizes: applied.stepSizeLearningRate, others: applied.learningRate),
      clip: training.gradientClip, weightDecay: training.weightDecay, clock: &watch.clock, world: world)
    optimizer.gradient.follow(step: step + 1)
  }

  /// This rank waits for a bucket of the gradient.
  private func enter(bucket: Int) {
    let count = optimizer.exchange.partition.bucketCount
    progress.enter(.exchange, detail: "gradients, bucket \(count - bucket) of \(count)")
  }

  /// The record of the step just done.
  private func record(
    _ total: LossTerms, _ applied: Applied, _ watch: inout StepWatch, world: borrowing World
  ) throws -> StepRecord {
    watch.clock.enter(.exchange)
    let bytes = try world.all(world.bytesSent - watch.bytesBefore)
    watch.clock.enter(.reading)
    let configuration = inputs.configuration
    var record = StepRecord(
      .train, step: step, total, learningRate: applied.learningRate, gradientNorm: applied.norm,
      tokensPerSecond: Double(configuration.training.globalBatch * configuration.data.sequenceLength)
        / watch.seconds)
    record.note(samples: course.sampleHistory)
    if let skipped = applied.skipped {
      record.note(skipped: skipped, sampleIDs: inputs.batches.schedule.sampleIDs(ofStep: step))
    }
    record.measure(bytesSent: bytes)
    record.measured += watch.clock.record(hasTeacher: teacher != nil)
    return record
  }

  /// Compares the weights that the ranks compute with.
  ///
  /// - Throws: `ReplicaError.replicasDiffer` on all ranks alike.
  func compareReplicas(world: borrowing World) throws {
    progress.enter(.exchange, detail: "comparison of the weights")
    try ReplicaCheck.compare(model.replicaDigest(parameters.view), step: step, world: world)
  }
}
