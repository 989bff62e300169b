import BinaryModel
import Collectives
import Coordinator
import Kernels
import Planning

/// How a run gets its parameters: from the beginning, or from a checkpoint.
extension TrainingRun {
  /// Sets the parameters for a new run: random, or from `initial_weights`; then fits the step sizes to the first
  /// micro-batch. Rank 0 does it, and holds all latent weights meanwhile; `shareParameters` follows.
  ///
  /// - Returns: what to tell the user, on rank 0.
  mutating func initialise(world: borrowing World) throws -> [String] {
    guard world.rank == 0 else { return [] }
    let configuration = inputs.configuration
    let layout = inputs.layout.parameters
    var notes: [String] = []
    Initialisation.fill(parameters.view, layout: layout, seed: configuration.seed)
    var hasStepSizes = false
    if let path = configuration.initialWeights {
      let weights = try PretrainedWeights(path: path)
      let report = try Initialisation.load(weights, into: parameters.view, layout: inputs.layout)
      hasStepSizes = report.hasStepSizes
      let taken = weights.notes(for: inputs.layout.configuration).map { ", \($0)" }.joined()
      notes.append(
        "weights from \(path): \(layout.parameters.count - report.missing.count) tensors\(taken); at their "
          + "defaults: \(report.missingText)")
    }
    if !hasStepSizes, layout.parameters.contains(where: { $0.kind == .stepSize }) {
      let layers = Model.fit(
        parameters.view, layout: inputs.layout, batch: try inputs.batches.batch(step: 1, lane: 0).tokens,
        rule: configuration.model.stepSizeFit, estimators: configuration.estimators.fit)
      notes += layers.compactMap(\.text)
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
  ///
  /// - Returns: what to tell the user, if anything.
  mutating func restore(_ checkpoint: Checkpoint, allowing allowed: Set<String>) throws -> String? {
    let layout = inputs.layout.parameters
    try checkpoint.check(inputs.tensors, sizes: inputs.layout.configuration.sizes)
    try checkpoint.state.check(against: identity, allowing: allowed, checkpoint: checkpoint.path)
    for (vector, part) in parts(optimizer.updated) {
      checkpoint.load(vector, layout: layout, into: part)
    }
    course = RunCourse(checkpoint.state)
    guard let text = checkpoint.state.gradientPowers else {
      return
        "the checkpoint is of a release that added gradients up in floating point; from here on they are integers, so the "
        + "numbers are not those that it would have come to (docs/coordinator.md)"
    }
    // Of another format, where that change is allowed, they are found anew.
    _ = optimizer.gradient.restore(powers: text)
    return nil
  }

  /// What this rank has of the vectors of a checkpoint in each of `runs`.
  private func parts(_ runs: [Range<Int>]) -> [(vector: CheckpointVector, part: FlatPart)] {
    runs.flatMap { run in
      let states = optimizer.state(of: run).sorted { $0.key < $1.key }
      let vectors: [(CheckpointVector, FloatView)] =
        [(.parameters, parameters.view[run])] + states.map { (.optimizerState($0.key), $0.value) }
      return vectors.map { (vector: $0, part: FlatPart(start: run.lowerBound, values: $1)) }
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
      step: step, worldSize: world.size, identity: identity, sizes: inputs.layout.configuration.sizes,
      configurationText: inputs.configuration.canonicalText, sampleHistory: course.sampleHistory,
      values: course.values, gradientPowers: optimizer.gradient.powers, arithmetic: .current)
    return try CheckpointWriter(checkpoints: checkpoints, tensors: inputs.tensors).begin(
      world, state: state, parts: parts(optimizer.slice), durable: durable, afterCommit: afterCommit,
      touch: { [progress] in progress.touch() })
  }
}

extension ModelConfiguration {
  /// The shape with these sizes, as `sizes` gives them; nil where one is missing or cannot be.
  init?(sizes: [String: Int]) {
    func size(_ key: String) -> Int { sizes[key] ?? -1 }
    self.init(
      vocabularySize: size("vocabulary size"), hiddenSize: size("model.hidden_size"),
      layers: size("model.layers"), heads: size("model.heads"),
      intermediateSize: size("model.intermediate_size"), maximumLength: size("model.maximum_length"),
      estimatorRank: size("model.estimator_rank"), dropout: 0)
    let others = [vocabularySize, hiddenSize, layers, heads, intermediateSize, maximumLength]
    guard others.allSatisfy({ $0 > 0 }), estimatorRank >= 0, hiddenSize % heads == 0 else { return nil }
  }

  /// The sizes of a model by their configuration key, as a checkpoint keeps them. (The tensors tell the rank of corrections.)
  var sizes: [String: Int] {
    [
      "vocabulary size": vocabularySize, "model.hidden_size": hiddenSize, "model.layers": layers,
      "model.heads": heads, "model.intermediate_size": intermediateSize,
      "model.maximum_length": maximumLength, "model.estimator_rank": estimatorRank,
    ]
  }
}
