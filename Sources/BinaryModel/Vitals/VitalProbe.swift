import Kernels

/// What one layer's binarisers did to a batch.
public struct LayerVitals: Equatable, Sendable {
  /// Share of the signed operands' elements beyond the gradients' window, padding included.
  public internal(set) var clipped: Float = 0
  /// Share of the real tokens' probabilities that are not zero, once binarised.
  public internal(set) var attentionOnes: Float = 0
  /// ‖S_est‖ / ‖QKᵀ − Q_b K_bᵀ‖ as softmax sees both; nil without estimators.
  public internal(set) var estimateRatio: Float?
}

/// Measures the binarisers of each layer that a forward pass goes through.
final class VitalProbe: LayerProbe {
  private(set) var layers: [LayerVitals] = []
  private let residuals = ResidualProbe(ranks: [], perHead: false, hasSpectrum: false)
  private var current = LayerVitals()

  func measure(_ attention: Attention, _ x: MatrixView, _ pass: Pass) {
    current = LayerVitals()
    let step = attention.probabilityBinariser.scale(pass.parameters)
    var (ones, all) = (0, 0)
    for b in 0..<attention.sequences {
      let count = Int(pass.tokens.lengths[b])
      for head in 0..<attention.heads {
        let own = attention.probabilities[rows: attention.headRows(b, head)]
        for row in 0..<count {
          for column in 0..<count where own.base[row * own.stride + column] / step > 0.5 { ones += 1 }
        }
      }
      all += attention.heads * count * count
    }
    current.attentionOnes = Float(Double(ones) / Double(max(1, all)))
    guard attention.estimators != nil else { return }
    residuals.measure(attention, x, pass)
    let found = residuals.layers.last!.all
    current.estimateRatio = Float((found.estimate / found.seenResidual).squareRoot())
  }

  func leave(_ layer: TransformerLayer, _ pass: Pass) {
    var binarisers = [layer.attentionOutput, layer.intermediate, layer.output].compactMap(\.input)
    if case .binary(let attention) = layer.attention {
      binarisers += [attention.query, attention.key, attention.value].compactMap(\.input)
      binarisers += [attention.queries, attention.keys, attention.values]
    }
    let within = binarisers.reduce(0) { $0 + $1.countWithin(pass.parameters) }
    let all = binarisers.reduce(0) { $0 + $1.rows * $1.columns }
    current.clipped = Float(1 - Double(within) / Double(max(1, all)))
    layers.append(current)
  }
}

extension Model {
  /// What each layer's binarisers do to a batch of the model's shape, without dropout.
  ///
  /// - Precondition: the model's activations are binary.
  /// - Cost: a forward pass, and the scores of all heads in float64.
  public func vitals(_ parameters: FloatView, _ batch: TokenBatch) -> [LayerVitals] {
    precondition(layout.configuration.precision.hasBinaryActivations, "vital signs at full precision")
    let probe = VitalProbe()
    forward(parameters, batch, for: probe)
    return probe.layers
  }
}
