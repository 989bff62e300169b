import BinaryModel
import Collectives
import Coordinator
import Foundation
import Kernels
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
  /// Updates done.
  private(set) var step = 0
  /// `Schedule.history` after `step` updates.
  private var sampleHistory = ""

  /// Allocates all memory of the run; the parameters are zero.
  init(_ inputs: RunInputs, teacher: consuming Teacher?, world: borrowing World) throws {
    let configuration = inputs.configuration
    self.inputs = inputs
    self.teacher = teacher
    identity = try inputs.identity()
    parameters = FloatBuffer(count: inputs.layout.elementCount)
    lanes = inputs.tree.lanes(of: world.rank, size: world.size)
    model = PretrainingModel(
      inputs.layout, sequences: configuration.training.microBatch, length: configuration.data.sequenceLength)
    batches = BatchReadAhead(inputs.batches, lanes: lanes, lastStep: configuration.training.steps)
    accumulator = TreeAccumulator(
      tree: inputs.tree, lanes: lanes, count: inputs.layout.elementCount,
      format: configuration.gradientFormat)
    optimizer = ShardedOptimizer(
      layout: inputs.layout,
      exchange: UpdateExchange(
        layout: inputs.layout, tree: inputs.tree, size: world.size,
        synchronisation: configuration.synchronisation, format: configuration.gradientFormat),
      rank: world.rank)
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
        model.binarise(parameters.view)
        model.fitStepSizes(
          parameters.view, batch: try inputs.batches.batch(step: 1, lane: 0),
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
      try world.scatter(parameters.view, ranges: slices, from: 0)
      for (rank, slice) in slices.enumerated() where rank != world.rank {
        for range in optimizer.exchange.packed.latentRanges(in: slice) { parameters.release(range) }
      }
    }
    try publishParameters(world: world)
  }

  /// Gives all ranks what they need of each other's parameters.
  mutating func publishParameters(world: borrowing World) throws {
    try optimizer.publish(parameters.view, model: &model, world: world)
  }

  /// Goes on from a checkpoint: the next update is the one after its last. `publishParameters` follows.
  mutating func restore(_ checkpoint: Checkpoint, allowing allowed: Set<String>) throws {
    try checkpoint.check(inputs.layout)
    try checkpoint.state.check(against: identity, allowing: allowed, checkpoint: checkpoint.path)
    let own = optimizer.updated
    let moments = optimizer.moments(own)
    for (vector, values) in [
      (CheckpointVector.parameters, parameters.view[own]), (.firstMoments, moments.first),
      (.secondMoments, moments.second),
    ] {
      checkpoint.load(vector, layout: inputs.layout, into: FlatPart(start: own.lowerBound, values: values))
    }
    step = checkpoint.state.step
    sampleHistory = checkpoint.state.sampleHistory
  }

  /// One update: this rank's lanes, the exchange, AdamW.
  ///
  /// - Cost: forward and backward of the lanes; the exchange of `UpdateExchange`.
  mutating func update(world: borrowing World) throws -> StepRecord {
    let start = ContinuousClock.now
    let number = step + 1
    let batches = try world.together { () throws -> [Batch] in try self.batches.take(step: number) }
    let configuration = inputs.configuration
    let divisors = LossDivisors(
      maskedTokens: try world.sum(batches.reduce(0) { $0 + $1.maskedTokens }),
      sequences: configuration.training.globalBatch)
    var losses: [(index: Int, losses: LossSums)] = []
    for (lane, batch) in zip(lanes, batches) {
      let gradients = accumulator.begin()
      losses.append(
        (
          lane,
          model.train(
            parameters.view, gradients: gradients, batch: batch, divisors: divisors, dropout: dropout,
            teacher: teacher?.forward(batch))
        ))
      accumulator.end()
    }
    let total = try world.addInOrder(losses)
    guard total.total.isFinite else { throw TrainingError.notFinite(step: number, what: "loss") }
    let rate = configuration.training.schedule.rate(step: number)
    let bytesBefore = world.bytesSent
    let norm = try optimizer.update(
      parameters.view, model: &model, nodes: accumulator.nodes, step: number, learningRate: rate,
      clip: configuration.training.gradientClip, weightDecay: configuration.training.weightDecay, world: world
    )
    let bytesSent = try world.sum(world.bytesSent - bytesBefore)
    sampleHistory = inputs.batches.schedule.history(after: sampleHistory, step: step)
    step = number

    var extras: [StepRecord.Extra] = []
    if teacher != nil {
      extras.append(StepRecord.Extra("hidden_loss", .number(total.hiddenLoss)))
      extras.append(StepRecord.Extra("nsp_distillation_loss", .number(total.nspDistillationLoss)))
    }
    extras.append(StepRecord.Extra("samples", .text(String(sampleHistory.prefix(16)))))
    // Of all ranks, for gradients and weights.
    extras.append(StepRecord.Extra("bytes_sent", .integer(bytesSent)))
    let tokens = configuration.training.globalBatch * configuration.data.sequenceLength
    return .train(
      step: step, loss: Float(total.total), mlmLoss: Float(total.mlmLoss), nspLoss: Float(total.nspLoss),
      learningRate: rate, gradientNorm: norm, tokensPerSecond: Double(tokens) / start.secondsUntilNow,
      extras: extras)
  }

  /// Losses and accuracies on the held-out batches, shared among the ranks.
  mutating func evaluate(world: borrowing World) throws -> StepRecord {
    let start = ContinuousClock.now
    let heldOut = inputs.heldOut
    let own = stride(from: world.rank, to: heldOut.count, by: world.size)
    let batches = try world.together { try own.map { ($0, try heldOut.batch($0)) } }
    var losses: [(index: Int, losses: LossSums)] = []
    for (index, batch) in batches { losses.append((index, model.evaluate(parameters.view, batch: batch))) }
    let total = try world.addInOrder(losses)
    let tokens = heldOut.sampleIDs.count * inputs.configuration.data.sequenceLength
    return .evaluation(
      step: step, loss: Float(total.total), mlmLoss: Float(total.mlmLoss), nspLoss: Float(total.nspLoss),
      mlmAccuracy: Float(total.mlmAccuracy), nspAccuracy: Float(total.nspAccuracy),
      tokensPerSecond: Double(tokens) / start.secondsUntilNow)
  }

  /// Writes the checkpoint of this step and returns its folder.
  ///
  /// - Throws: `CoordinatorError.notWritten` on all ranks alike; older checkpoints stay.
  func save(to checkpoints: String, world: borrowing World) throws(CoordinatorError) -> String {
    let state = CheckpointState(
      step: step, worldSize: world.size, identity: identity, model: inputs.layout.configuration,
      configurationText: inputs.configuration.canonicalText, sampleHistory: sampleHistory)
    let slice = optimizer.slice
    let moments = optimizer.moments(slice)
    return try CheckpointWriter(checkpoints: checkpoints, layout: inputs.layout).write(
      world, state: state, parameters: FlatPart(start: slice.lowerBound, values: parameters.view[slice]),
      firstMoments: FlatPart(start: slice.lowerBound, values: moments.first),
      secondMoments: FlatPart(start: slice.lowerBound, values: moments.second))
  }
}

extension ContinuousClock.Instant {
  /// Seconds since this instant; for display only.
  var secondsUntilNow: Double { (self.duration(to: .now)) / .seconds(1) }
}
