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
  }

  /// Overwrites those parameters that `weights` has: a full-precision BERT or a BiPFT model.
  ///
  /// - Throws: `ModelError` where shapes or the number of layers differ.
  public static func load<Goal: Objective>(
    _ weights: PretrainedWeights, into parameters: FloatView, layout model: ModelLayout<Goal>
  ) throws(ModelError) -> LoadReport {
    let layout = model.parameters
    try checkLayers(weights, model.configuration.layers)
    var missing: [String] = []
    for parameter in layout.parameters {
      guard let values = try weights.read(parameter.name, shape: parameter.shape) else {
        missing.append(parameter.name)
        continue
      }
      let view = parameters[parameter.range]
      values.withUnsafeBufferPointer { view.base.update(from: $0.baseAddress!, count: view.count) }
    }
    let hasStepSizes = layout.parameters.allSatisfy { $0.kind != .stepSize || weights.find($0.name) != nil }
    return LoadReport(missing: missing, hasStepSizes: hasStepSizes)
  }
}

/// Refuses a file that is no BERT, or one with another number of layers than `layers`.
func checkLayers(_ weights: PretrainedWeights, _ layers: Int) throws(ModelError) {
  func name(_ layer: Int) -> String { "bert.encoder.layer.\(layer).attention.self.query.weight" }
  var found = 0
  while weights.find(name(found)) != nil { found += 1 }
  if found == 0 { throw .missing(path: weights.path, tensor: name(0)) }
  if found != layers { throw .layers(path: weights.path, found: found, wanted: layers) }
}
