import Kernels
import Parameters

/// The encoder of the same weights at full precision, which goes through a batch layer by layer, ahead of the binary one, so that
/// each part can be fitted to what it should put out.
///
/// Legend: N tokens, H hidden, O outputs.
///
/// - Cost: a copy of the encoder's weights and the activations of one layer.
final class FitReference {
  private var arena = Arena()
  private let parameters: FloatBuffer
  private let encoder: Encoder
  private let pass: Pass
  private let product: FloatView
  /// The layer it has gone through last; -1 for the embeddings.
  private var layer = -1

  init<Goal: Objective>(_ parameters: FloatView, _ model: ModelLayout<Goal>, _ batch: TokenBatch) {
    var c = model.configuration
    (c.precision, c.estimatorRank, c.linearRank) = (.full, 0, 0)
    var builder = LayoutBuilder()
    let places = EncoderPlaces(c, in: &builder)
    let layout = ParameterLayout(builder)
    let own = FloatBuffer(count: layout.elementCount)
    for parameter in layout.parameters {
      own.view[parameter.range].copy(from: parameters[model.parameters[parameter.name].range])
    }
    self.parameters = own
    encoder = Encoder(
      places, c, sequences: batch.sequences, length: batch.length, slices: 1, keepsActivations: false,
      precision: .float32, seed: 0, in: &arena)
    let rows = batch.sequences * batch.length
    product = arena.floats(rows * max(c.hiddenSize, c.intermediateSize))
    pass = Pass(
      tokens: batch, mode: .evaluation, parameters: self.parameters.view, matrices: [], tableMean: 0,
      scratch: encoder.scratch, window: .stepSize)
    encoder.embeddings.forward(pass, into: encoder.output.hidden[0])
  }

  /// Goes through the next layer.
  func enter(_ layer: Int) {
    precondition(layer == self.layer + 1, "layer \(layer) after \(self.layer)")
    encoder.layers[layer].forward(encoder.state(layer), pass, into: encoder.output.hidden[layer + 1])
    self.layer = layer
  }

  /// N×H: what the layer it is at puts out.
  var state: MatrixView { encoder.state(layer + 1) }

  /// The attention of the layer it is at.
  var attention: FullPrecisionAttention {
    guard case .full(let attention) = encoder.layers[layer].attention else { preconditionFailure("binary") }
    return attention
  }

  /// N×H: the context of the layer it is at.
  var context: MatrixView { linear(encoder.layers[layer].attentionOutput).input }

  /// N×O: what the linear layer called `name` puts out, if it is one of the layer it is at; valid until the next call.
  func output(of name: String) -> MatrixView? {
    guard layer >= 0 else { return nil }
    let own = encoder.layers[layer]
    let attention = attention
    for (map, output) in zip(attention.mapNames, [attention.query, attention.key, attention.value])
    where map == name { return output }
    for candidate in [own.attentionOutput, own.intermediate, own.output] {
      let found = linear(candidate)
      guard found.linear.name == name else { continue }
      let out = MatrixView(product, rows: found.input.rows, columns: found.linear.outputs)
      found.product(pass, into: out)
      return out
    }
    return nil
  }

  private func linear(_ layer: EncoderLinear) -> FullPrecisionLinear {
    guard case .full(let linear) = layer else { preconditionFailure("binary") }
    return linear
  }
}
