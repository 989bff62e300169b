import BinaryModel
import Collectives
import Telemetry

extension TrainingRun {
  /// The vital signs of the model as it is, the same for every number of ranks: of the weights from their owners, of the
  /// activations on the first held-out sequences. On rank 0; nil on the others, and where nothing is binary.
  ///
  /// - Cost: on each rank one pass over its latent weights; on rank 0 a forward pass of one slice and a copy of the signs.
  mutating func vitals(world: borrowing World) throws -> VitalSigns? {
    let configuration = inputs.layout.configuration
    guard configuration.precision == .binary else { return nil }
    let counts = try world.add(model.distanceCounts(of: optimizer.slice, parameters.view))
    let found = try world.together { () throws -> VitalSigns? in
      guard world.rank == 0 else { return nil }
      let batch = try inputs.heldOut.batch(0).tokens
      let layers = model.vitals(parameters.view, batch.first(model.sequences))
      let flips = earlierSigns.map { model.flippedSigns(since: $0) }
      let buckets = Model<Goal>.distanceBuckets
      return VitalSigns(
        step: step, flipped: flips?.map { Float(Double($0.flipped) / Double(max(1, $0.all))) },
        stepSizes: model.stepSizes(parameters.view), clipped: layers.map(\.clipped),
        attentionOnes: layers.map(\.attentionOnes), estimateRatio: layers.compactMap(\.estimateRatio),
        distances: (0..<configuration.layers).map { Array(counts[$0 * buckets..<($0 + 1) * buckets]) })
    }
    noteSigns(world: world)
    return found
  }

  /// Takes the signs as those that later ones are compared with.
  mutating func noteSigns(world: borrowing World) {
    guard world.rank == 0, inputs.layout.configuration.precision == .binary else { return }
    earlierSigns = Array(model.signBytes)
  }
}
