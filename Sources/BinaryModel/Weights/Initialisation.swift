import Kernels
import Parameters

/// Where a run's parameters come from at its start.
public enum Initialisation {
  /// Standard deviation of random weights, as in BERT.
  public static let deviation: Float = 0.02

  /// Fills `parameters` with the defaults: weights normal with deviation 0.02, biases and shifts 0, scales of layer
  /// normalisations and step sizes 1. Gaps stay zero.
  ///
  /// An element's value depends on the seed and its place only.
  public static func fill(_ parameters: FloatView, layout: ParameterLayout, seed: UInt64) {
    precondition(
      parameters.count == layout.elementCount, "\(parameters.count) parameters of \(layout.elementCount)")
    let random = CounterRandom(seed: seed, purpose: .initialisation)
    for parameter in layout.parameters {
      let view = parameters[parameter.range]
      switch parameter.initial {
      case .one: view.fill(1)
      case .zero: view.fill(0)
      case .normal:
        parallelPanels(parameter.count, 16_384) { range, _ in
          for i in range { view.base[i] = deviation * normal(random, UInt64(parameter.offset + i)) }
        }
      }
    }
  }

  /// Nearly normal: the sum of 8 uniform 16-bit numbers, scaled to variance 1 (Irwin-Hall; within ±4.9). Integers only,
  /// so every host has the same bits.
  private static func normal(_ random: CounterRandom, _ element: UInt64) -> Float {
    let words = random.block(
      SIMD4(UInt32(truncatingIfNeeded: element), UInt32(truncatingIfNeeded: element >> 32), 0, 0))
    var sum: Int32 = -8 * 65_535 / 2
    for i in 0..<4 { sum += Int32(words[i] & 0xFFFF) + Int32(words[i] >> 16) }
    return Float(sum) * (1.224_744_9 / 65_536)
  }

  /// What `load` did with a file.
  public struct LoadReport: Sendable {
    /// Parameters that the file has not, left at their defaults.
    public let missing: [String]
    /// True when the file brought step sizes, so that they need no fit.
    public let hasStepSizes: Bool

    /// `missing` in few words: what a full-precision BERT never has by kind, all else by name.
    public var missingText: String {
      if missing.isEmpty { return "none" }
      let ofBinarisers = missing.count(where: isOfBinariser)
      let ofEstimators = missing.count(where: isOfEstimator)
      let ofCorrections = missing.count(where: isOfCorrection)
      var groups: [String] = []
      if ofBinarisers > 0 { groups.append("\(ofBinarisers) shifts and step sizes of the binarisers") }
      if ofEstimators > 0 { groups.append("\(ofEstimators) of the residual estimators") }
      if ofCorrections > 0 { groups.append("\(ofCorrections) of the low-rank corrections") }
      return (groups + missing.filter { !isOfNoBERT($0) }).joined(separator: ", ")
    }
  }

  /// Overwrites those parameters that `weights` has: a full-precision BERT or a BiPFT model. Only the pooler, the
  /// objective's own parameters, residual estimators, low-rank corrections and the binarisers' own parameters may be missing.
  ///
  /// - Throws: `ModelError` where others are missing, where shapes or the number of layers differ, for weights that
  ///   are not finite, and for those of a binary model where this one is of full precision.
  public static func load<Goal: Objective>(
    _ weights: PretrainedWeights, into parameters: FloatView, layout model: ModelLayout<Goal>
  ) throws(ModelError) -> LoadReport {
    let layout = model.parameters
    try checkLayers(weights, model.configuration.layers)
    if model.configuration.precision == .full { try checkFullPrecision(weights) }
    let missing = layout.parameters.filter { weights.find($0.name) == nil }
    let core = missing.filter {
      !isOfNoBERT($0.name) && !$0.name.hasPrefix("bert.pooler.")
        && !model.headRange.contains($0.offset)
    }
    if !core.isEmpty { throw .missing(path: weights.path, tensors: core.map(\.name)) }
    for parameter in layout.parameters {
      guard let values = try weights.read(parameter.name, shape: parameter.shape) else { continue }
      let view = parameters[parameter.range]
      values.withUnsafeBufferPointer { view.base.update(from: $0.baseAddress!, count: view.count) }
    }
    let hasStepSizes = layout.parameters.allSatisfy { $0.kind != .stepSize || weights.find($0.name) != nil }
    return LoadReport(missing: missing.map(\.name), hasStepSizes: hasStepSizes)
  }
}

/// Whether a parameter is a binariser's shift or step size.
private func isOfBinariser(_ name: String) -> Bool {
  name.hasSuffix(".move.bias") || name.hasSuffix(".input_clip_val") || name.contains(".clip_")
}

private func isOfEstimator(_ name: String) -> Bool {
  [".q_m.", ".q_p.", ".k_m.", ".k_p.", ".v_p."].contains { name.contains($0) }
}

private func isOfCorrection(_ name: String) -> Bool { name.contains(".lora.") }

/// Whether a parameter is one that no full-precision BERT has.
private func isOfNoBERT(_ name: String) -> Bool {
  isOfBinariser(name) || isOfEstimator(name) || isOfCorrection(name)
}

/// Refuses the weights of a binary model where a BERT of full precision is wanted.
func checkFullPrecision(_ weights: PretrainedWeights) throws(ModelError) {
  let step = "bert.encoder.layer.0.attention.self.query.input_clip_val"
  if weights.find(step) != nil {
    throw .notWeights(
      path: weights.path,
      what: "holds a binary model (\(step)), whose latent weights are no BERT of full precision; give a "
        + "BERT, or a run with model.precision full")
  }
}

/// Refuses a file that is no BERT, or one with another number of layers than `layers`.
func checkLayers(_ weights: PretrainedWeights, _ layers: Int) throws(ModelError) {
  let found = weights.layerCount
  if found == 0 {
    throw .missing(path: weights.path, tensors: ["bert.encoder.layer.0.attention.self.query.weight"])
  }
  if found != layers { throw .layers(path: weights.path, found: found, wanted: layers) }
}
