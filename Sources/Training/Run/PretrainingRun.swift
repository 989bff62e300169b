import BinaryModel
import Collectives
import Coordinator
import Foundation
import Kernels
import Planning
import RunSettings
import Telemetry

/// A pretraining run in progress on one rank. Every method is collective: all ranks call it alike.
struct PretrainingRun: ~Copyable {
  let inputs: RunInputs
  let identity: RunIdentity
  /// The flat vector of the layout. Sharded, pages of latent weights that other ranks own are never touched.
  let parameters: FloatBuffer
  private var model: PretrainingModel
  private let teacher: Teacher?
  private var accumulator: TreeAccumulator
  private let optimizer: ShardedOptimizer
  private let dropout: Dropout?
  private var batches: BatchReadAhead
  /// This rank's lanes of every step.
  private let lanes: Range<Int>
  /// Whether gradients are exchanged while backward of the last lane still makes them.
  private let overlaps: Bool
  /// Updates done.
  private(set) var step = 0
  /// `Schedule.history` after `step` updates.
  private var sampleHistory = ""
  /// Losses before `step`, to tell a spike.
  private var lossWindow = LossWindow()
  /// Steps skipped one after the other, up to `step`.
  private(set) var skippedInARow = 0
  /// What computed the checkpoint that the run goes on from, if that is known.
  private(set) var restoredArithmetic: Arithmetic?
  /// Where this rank is, for the watchdog.
  private let progress: RankProgress

  /// Allocates all memory of the run; the parameters are zero.
  init(
    _ inputs: RunInputs, teacher: consuming Teacher?, progress: RankProgress, world: borrowing World
  ) throws {
    let configuration = inputs.configuration
    self.inputs = inputs
    self.teacher = teacher
    self.progress = progress
    identity = inputs.identity()
    parameters = FloatBuffer(count: inputs.layout.elementCount)
    lanes = inputs.tree.lanes(of: world.rank, size: world.size)
    overlaps = configuration.overlapExchange && world.size > 1 && GradientExchange.isPossible
    model = PretrainingModel(
      inputs.layout, sequences: configuration.sliceSequences, length: configuration.data.sequenceLength,
      slices: configuration.training.microBatch / configuration.sliceSequences,
      backwardPrecision: configuration.training.backwardPrecision, seed: configuration.seed)
    batches = BatchReadAhead(lanes: lanes, lastStep: configuration.training.steps) {
      [source = inputs.batches] in
      source.prefetch(step: $0, lane: $1)
    } make: { [source = inputs.batches] step, lane throws(TrainingError) in
      try source.batch(step: step, lane: lane)
    }
    accumulator = TreeAccumulator(
      tree: inputs.tree, lanes: lanes, count: inputs.layout.elementCount,
      format: configuration.gradientFormat)
    optimizer = ShardedOptimizer(
      layout: inputs.layout,
      exchange: UpdateExchange(
        layout: inputs.layout, tree: inputs.tree, size: world.size,
        synchronisation: configuration.synchronisation, format: configuration.gradientFormat),
      rank: world.rank)
    // Latent weights of other owners lie between one's own.
    let latent = optimizer.exchange.packed.latentRanges(in: 0..<parameters.count)
    if optimizer.updated.elementCount < parameters.count, let first = latent.first, let last = latent.last {
      parameters.useSmallPages(first.lowerBound..<last.upperBound)
    }
    dropout =
      configuration.model.dropout > 0
      ? Dropout(rate: configuration.model.dropout, seed: configuration.seed) : nil
  }

  /// Sets the parameters for a new run: random, or from `initial_weights`; then fits the step sizes to the first
  /// micro-batch. Rank 0 does it, and holds all latent weights meanwhile; `shareParameters` follows.
  ///
  /// - Returns: what to tell the user, on rank 0.
  mutating func initialise(world: borrowing World) throws -> [String] {
    let configuration = inputs.configuration
    var notes: [String] = []
    if world.rank == 0 {
      Initialisation.fill(parameters.view, layout: inputs.layout, seed: configuration.seed)
      var hasStepSizes = false
      if let path = configuration.initialWeights {
        let report = try Initialisation.load(
          PretrainedWeights(path: path), into: parameters.view, layout: inputs.layout)
        hasStepSizes = report.hasStepSizes
        notes.append(
          "weights from \(path): \(inputs.layout.parameters.count - report.missing.count) tensors, "
            + "\(report.missing.count) at their defaults")
      }
      if !hasStepSizes {
        PretrainingModel.fitStepSizes(
          parameters.view, layout: inputs.layout, batch: try inputs.batches.batch(step: 1, lane: 0),
          rule: configuration.model.stepSizeFit)
      }
    }
    return notes
  }

  /// Gives all ranks their part of rank 0's parameters.
  mutating func shareParameters(world: borrowing World) throws {
    let slices = optimizer.exchange.partition.slices
    switch inputs.configuration.synchronisation {
    case .replicated: try world.broadcast(parameters.view.bytes, from: 0)
    case .sharded:
      try world.scatter(parameters.view, parts: slices, from: 0)
      for (rank, slice) in slices.enumerated() where rank != world.rank {
        for run in slice {
          for range in optimizer.exchange.packed.latentRanges(in: run) { parameters.release(range) }
        }
      }
    }
    try publishParameters(world: world)
  }

  /// Gives all ranks what they need of each other's parameters.
  mutating func publishParameters(world: borrowing World) throws {
    var clock = StepClock()
    try optimizer.publish(parameters.view, model: &model, clock: &clock, world: world)
  }

  /// Goes on from a checkpoint: the next update is the one after its last. `publishParameters` follows.
  mutating func restore(_ checkpoint: Checkpoint, allowing allowed: Set<String>) throws {
    try checkpoint.check(inputs.layout)
    try checkpoint.state.check(against: identity, allowing: allowed, checkpoint: checkpoint.path)
    for vector in CheckpointVector.allCases {
      for part in parts(of: vector, optimizer.updated) {
        checkpoint.load(vector, layout: inputs.layout, into: part)
      }
    }
    step = checkpoint.state.step
    restoredArithmetic = checkpoint.state.arithmetic
    sampleHistory = checkpoint.state.sampleHistory
    lossWindow = LossWindow(text: checkpoint.state.values[Self.lossesKey] ?? "")
    skippedInARow = checkpoint.state.values[Self.skippedKey].flatMap { Int($0) } ?? 0
  }

  /// What one step came to, the same on all ranks but for times.
  struct Update {
    let record: StepRecord
    /// Of all ranks.
    let notices: [StepNotice]
    /// Why nothing was updated, if so.
    let skipped: String?
  }

  /// One update: this rank's lanes, the exchange, AdamW. Where the loss or the gradient is not finite, or the loss is a
  /// spike, the step counts and nothing is updated, on all ranks alike.
  ///
  /// - Parameters:
  ///   - stateWillChange: called before weights and moments change.
  ///   - notice: asked for what to tell the other ranks once the lanes are done.
  /// - Cost: forward and backward of the lanes; the exchange of `UpdateExchange`.
  mutating func update(
    world: borrowing World, stateWillChange: () -> Void, notice: () -> StepNotice
  ) throws -> Update {
    let start = ContinuousClock.now
    var clock = StepClock()
    let number = step + 1
    let progress = progress
    progress.enter(.reading, step: number)
    FaultInjection.signal(rank: world.rank, step: number)
    let batches = try world.together { () throws -> [Batch] in
      if FaultInjection.isAsked("throw", rank: world.rank, step: number) {
        throw TrainingError.unreadable(path: "step \(number)", reason: "a fault that a test asked for")
      }
      let batches = try self.batches.take(step: number)
      progress.enter(.exchange, detail: "batches")
      clock.enter(.exchange)
      return batches
    }
    let configuration = inputs.configuration
    let divisors = LossDivisors(
      maskedTokens: try world.all(batches.reduce(0) { $0 + $1.maskedTokens }).reduce(0, +),
      sequences: configuration.training.globalBatch)
    var bytesBefore = world.bytesSent
    var losses = try train(batches, divisors: divisors, clock: &clock, world: world)
    let bytesDuringBackward = world.bytesSent - bytesBefore
    clock.enter(.exchange)
    progress.enter(.exchange, detail: "losses")
    if FaultInjection.isAsked("nan", rank: world.rank, step: number) { losses[0].losses.mlm = .nan }
    let (total, notices) = try world.addInOrder(losses, notice: notice())
    let rate = configuration.training.schedule.rate(step: number)
    var norm = Float.nan
    var skipped = reasonToSkip(total.total)
    bytesBefore = world.bytesSent - bytesDuringBackward
    if skipped == nil {
      let nodes = accumulator.nodes
      if !overlaps { try optimizer.reduce(nodes, world: world) { enter(bucket: $0) } }
      progress.enter(.exchange, detail: "weights")
      stateWillChange()
      do {
        norm = try optimizer.update(
          parameters.view, model: &model, gradient: nodes[0].view, step: number, learningRate: rate,
          clip: configuration.training.gradientClip, weightDecay: configuration.training.weightDecay,
          clock: &clock, world: world)
        lossWindow.append(total.total)
      } catch TrainingError.notFinite(_, let what) {
        skipped = "the \(what) is not finite"
      }
    }
    clock.enter(.exchange)
    let bytesSent = try world.all(world.bytesSent - bytesBefore)
    clock.enter(.reading)
    skippedInARow = skipped == nil ? 0 : skippedInARow + 1
    sampleHistory = inputs.batches.schedule.history(after: sampleHistory, step: step)
    step = number
    if FaultInjection.isAsked("corrupt", rank: world.rank, step: step) { model.corruptOneSign() }

    var extras: [StepRecord.Extra] = []
    if teacher != nil {
      extras.append(StepRecord.Extra("hidden_loss", .number(total.hiddenLoss)))
      extras.append(StepRecord.Extra("nsp_distillation_loss", .number(total.nspDistillationLoss)))
    }
    extras.append(StepRecord.Extra("samples", .text(String(sampleHistory.prefix(16)))))
    if let skipped {
      extras.append(StepRecord.Extra("skipped", .text(skipped)))
      extras.append(StepRecord.Extra("sample_ids", .text(sampleIDs(ofStep: step))))
    }
    let tokens = configuration.training.globalBatch * configuration.data.sequenceLength
    var record = StepRecord.train(
      step: step, loss: Float(total.total), mlmLoss: Float(total.mlmLoss), nspLoss: Float(total.nspLoss),
      learningRate: rate, gradientNorm: norm, tokensPerSecond: Double(tokens) / start.secondsUntilNow,
      extras: extras)
    // For gradients and weights.
    record.measured += [
      StepRecord.Extra("bytes_sent", .integer(bytesSent.reduce(0, +))),
      StepRecord.Extra("bytes_sent_busiest_rank", .integer(bytesSent.max()!)),
    ]
    // Of the rank that keeps the journal.
    record.measured += clock.record(hasTeacher: teacher != nil)
    return Update(record: record, notices: notices, skipped: skipped)
  }

  /// Forward and backward of this rank's lanes of the next step; where that overlaps, their gradients are exchanged too.
  private mutating func train(
    _ batches: [Batch], divisors: LossDivisors, clock: inout StepClock, world: borrowing World
  ) throws(WorldError) -> [(index: Int, losses: LossSums)] {
    let (rank, number) = (world.rank, step + 1)
    var losses: [(index: Int, losses: LossSums)] = []
    for (lane, batch) in zip(lanes, batches) {
      progress.enter(.computing, detail: "lane \(lane)")
      clock.enter(.backward)
      let gradients = accumulator.begin()
      var sums = LossSums()
      let early = overlaps && lane == lanes.upperBound - 1 ? optimizer.gradients : nil
      let slices = batch.slices(of: model.sequences)
      for (index, slice) in slices.enumerated() {
        clock.enter(.teacher)
        let output = teacher?.forward(slice)
        // Only the last slice of a lane completes its gradient.
        let completing = index == slices.count - 1 ? early : nil
        if let completing { completing.begin(accumulator, into: accumulator.nodes[0].view) }
        sums += model.train(
          parameters.view, gradients: gradients, batch: slice, divisors: divisors, dropout: dropout,
          teacher: output
        ) { moment in
          clock.note(moment)
          guard case .complete(let element) = moment, let completing else { return }
          if element == 0 { FaultInjection.stop("exchange", rank: rank, step: number) }
          completing.complete(from: element)
        }
      }
      losses.append((lane, sums))
      clock.enter(.update)
      accumulator.end(addedFrom: early == nil ? nil : 0)
      if let early {
        clock.enter(.exchange)
        try early.finish(world) { enter(bucket: $0) }
      }
    }
    return losses
  }

  /// This rank waits for a bucket of the gradient.
  private func enter(bucket: Int) {
    let count = optimizer.exchange.partition.bucketCount
    progress.enter(.exchange, detail: "gradients, bucket \(count - bucket) of \(count)")
  }

  /// Why a step with this loss is not to be done; nil if it is.
  private func reasonToSkip(_ loss: Double) -> String? {
    if !loss.isFinite { return "the loss is not finite" }
    let limit = Double(inputs.configuration.training.spikeZScore)
    guard limit > 0, let score = lossWindow.zScore(loss), score > limit else { return nil }
    return "the loss is a spike"
  }

  /// The samples of all lanes in the update number `step`, in order, separated by spaces.
  private func sampleIDs(ofStep step: Int) -> String {
    let schedule = inputs.batches.schedule
    let ids = (0..<schedule.lanes).flatMap { lane in
      (0..<schedule.microBatch).map { schedule.sample(step: step - 1, lane: lane, index: $0).sample }
    }
    return ids.map(String.init).joined(separator: " ")
  }

  /// Compares the weights that the ranks compute with.
  ///
  /// - Throws: `ReplicaError.replicasDiffer` on all ranks alike.
  func compareReplicas(world: borrowing World) throws {
    progress.enter(.exchange, detail: "comparison of the weights")
    try ReplicaCheck.compare(model.replicaDigest(parameters.view), step: step, world: world)
  }

  /// Losses and accuracies on the held-out batches, shared among the ranks.
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
    var losses: [(index: Int, losses: LossSums)] = []
    for (index, batch) in batches {
      progress.enter(.evaluation, detail: "batch \(index)")
      var sums = LossSums()
      for slice in batch.slices(of: model.sequences) {
        sums += model.evaluate(parameters.view, batch: slice)
      }
      losses.append((index, sums))
    }
    FaultInjection.delay(before: "evaluated")
    progress.enter(.exchange, detail: "evaluation")
    let (total, notices) = try world.addInOrder(losses, notice: notice())
    let tokens = heldOut.sampleIDs.count * inputs.configuration.data.sequenceLength
    let record = StepRecord.evaluation(
      step: step, loss: Float(total.total), mlmLoss: Float(total.mlmLoss), nspLoss: Float(total.nspLoss),
      mlmAccuracy: Float(total.mlmAccuracy), nspAccuracy: Float(total.nspAccuracy),
      tokensPerSecond: Double(tokens) / start.secondsUntilNow)
    return (record, notices)
  }

  private static let lossesKey = "recent_losses"
  private static let skippedKey = "skipped_in_a_row"

  /// What this rank has of `vector` in each of `runs`.
  private func parts(of vector: CheckpointVector, _ runs: [Range<Int>]) -> [FlatPart] {
    runs.map { run in
      let values =
        switch vector {
        case .parameters: parameters.view[run]
        case .firstMoments: optimizer.moments(run).first
        case .secondMoments: optimizer.moments(run).second
        }
      return FlatPart(start: run.lowerBound, values: values)
    }
  }

  /// Starts to write the checkpoint of this step; training can go on at once.
  ///
  /// - Parameter durable, afterCommit: see `CheckpointWriter.begin`.
  func beginCheckpoint(
    in checkpoints: String, durable: [String], world: borrowing World,
    afterCommit: @escaping @Sendable () -> [String]
  ) throws(WorldError) -> PendingCheckpoint {
    let state = CheckpointState(
      step: step, worldSize: world.size, identity: identity, model: inputs.layout.configuration,
      configurationText: inputs.configuration.canonicalText, sampleHistory: sampleHistory,
      values: [Self.lossesKey: lossWindow.text, Self.skippedKey: "\(skippedInARow)"], arithmetic: .current)
    let parts = CheckpointVector.allCases.flatMap { vector in
      self.parts(of: vector, optimizer.slice).map { (vector: vector, part: $0) }
    }
    return try CheckpointWriter(checkpoints: checkpoints, layout: inputs.layout).begin(
      world, state: state, parts: parts, durable: durable, afterCommit: afterCommit,
      touch: { [progress] in progress.touch() })
  }
}

extension ContinuousClock.Instant {
  /// Seconds since this instant; for display only.
  var secondsUntilNow: Double { (self.duration(to: .now)) / .seconds(1) }
}
