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
  /// The latent weights and all else, the flat vector of the layout.
  let parameters: FloatBuffer
  private var model: PretrainingModel
  private let teacher: Teacher?
  private var accumulator: TreeAccumulator
  private let optimizer: ShardedOptimizer
  private let dropout: Dropout?
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
      inputs.layout, sequences: configuration.training.microBatch, length: configuration.data.sequenceLength,
      backwardPrecision: configuration.training.backwardPrecision, seed: configuration.seed)
    accumulator = TreeAccumulator(tree: inputs.tree, lanes: lanes, count: inputs.layout.elementCount)
    optimizer = ShardedOptimizer(
      layout: inputs.layout, tree: inputs.tree, rank: world.rank, size: world.size)
    dropout =
      configuration.model.dropout > 0
      ? Dropout(rate: configuration.model.dropout, seed: configuration.seed) : nil
  }

  /// Sets the parameters for a new run: random, or from `initial_weights`; then fits the step sizes to the first
  /// micro-batch. Rank 0 does it, and all have its bits.
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

  /// Gives all ranks rank 0's parameters.
  mutating func shareParameters(world: borrowing World) throws {
    try world.broadcast(parameters.view.bytes, from: 0)
    model.binarise(parameters.view)
  }

  /// Goes on from a checkpoint: the next update is the one after its last.
  mutating func restore(_ checkpoint: Checkpoint, allowing allowed: Set<String>) throws {
    try checkpoint.check(inputs.layout)
    try checkpoint.state.check(against: identity, allowing: allowed, checkpoint: checkpoint.path)
    checkpoint.load(.parameters, layout: inputs.layout, into: FlatPart(start: 0, values: parameters.view))
    let start = optimizer.slice.lowerBound
    checkpoint.load(
      .firstMoments, layout: inputs.layout, into: FlatPart(start: start, values: optimizer.firstMoments.view))
    checkpoint.load(
      .secondMoments, layout: inputs.layout,
      into: FlatPart(start: start, values: optimizer.secondMoments.view))
    step = checkpoint.state.step
    sampleHistory = checkpoint.state.sampleHistory
    model.binarise(parameters.view)
  }

  /// One update: this rank's lanes, the exchange, AdamW.
  ///
  /// - Cost: forward and backward of the lanes; two passes of the flat vector over the network.
  mutating func update(world: borrowing World) throws -> StepRecord {
    let start = ContinuousClock.now
    let number = step + 1
    let lanes = lanes
    let source = inputs.batches
    let batches = try world.together { try lanes.map { try source.batch(step: number, lane: $0) } }
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
    let norm = try optimizer.update(
      parameters.view, nodes: accumulator.nodes, step: number, learningRate: rate,
      clip: configuration.training.gradientClip, weightDecay: configuration.training.weightDecay, world: world
    )
    model.binarise(parameters.view)
    sampleHistory = source.schedule.history(after: sampleHistory, step: step)
    step = number

    var extras: [StepRecord.Extra] = []
    if teacher != nil {
      extras.append(StepRecord.Extra("hidden_loss", .number(total.hiddenLoss)))
      extras.append(StepRecord.Extra("nsp_distillation_loss", .number(total.nspDistillationLoss)))
    }
    extras.append(StepRecord.Extra("samples", .text(String(sampleHistory.prefix(16)))))
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
    return try CheckpointWriter(checkpoints: checkpoints, layout: inputs.layout).write(
      world, state: state, parameters: FlatPart(start: slice.lowerBound, values: parameters.view[slice]),
      firstMoments: FlatPart(start: slice.lowerBound, values: optimizer.firstMoments.view),
      secondMoments: FlatPart(start: slice.lowerBound, values: optimizer.secondMoments.view))
  }
}

extension ContinuousClock.Instant {
  /// Seconds since this instant; for display only.
  var secondsUntilNow: Double { (self.duration(to: .now)) / .seconds(1) }
}
