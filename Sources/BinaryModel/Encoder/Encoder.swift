import Kernels
import Parameters

/// Where the encoder's tensors lie in the flat buffers.
struct EncoderPlaces: Sendable {
  let embeddings: EmbeddingPlaces
  let layers: [LayerPlaces]
  let pooler: PoolerPlaces
  /// The first element of each layer in the flat vector, and of what comes after the layers.
  let starts: [Int]

  /// Adds the tensors of the encoder, under the names of METHOD, to a layout.
  init(_ c: ModelConfiguration, in layout: inout LayoutBuilder) {
    embeddings = EmbeddingPlaces("bert.embeddings.", c, in: &layout)
    var layers: [LayerPlaces] = []
    var starts: [Int] = []
    for index in 0..<c.layers {
      starts.append(layout.end)
      layers.append(LayerPlaces("bert.encoder.layer.\(index).", c, in: &layout))
    }
    self.layers = layers
    self.starts = starts + [layout.end]
    pooler = PoolerPlaces("bert.pooler.", c, in: &layout)
  }
}

/// What an encoder makes of a batch, valid until its next pass. Legend: B sequences, T tokens, N = B·T, H hidden, L layers.
public struct EncoderOutput {
  /// L + 1 of N×H: the embeddings' output and each layer's.
  public let hidden: [FloatView]
  /// N×H: the last of them.
  public let lastHidden: MatrixView
  /// B×H
  public let pooled: MatrixView
}

/// The transformer without heads: embeddings, layers, pooler (METHOD, "The network"), as binary as the model's precision says.
///
/// Legend: B sequences, T tokens, N = B·T, H hidden, L layers.
struct Encoder {
  let embeddings: Embeddings
  let layers: [TransformerLayer]
  private let pooler: Pooler
  let scratch: LayerScratch
  let output: EncoderOutput
  private let starts: [Int]

  /// - Parameters:
  ///   - slices: batches that a micro-batch is cut into.
  ///   - keepsActivations: whether backward will follow; else layers share their memory.
  ///   - seed: of the run, for the random rounding of gradients.
  init(
    _ places: EncoderPlaces, _ c: ModelConfiguration, sequences: Int, length: Int, slices: Int,
    keepsActivations: Bool, precision: BackwardPrecision, seed: UInt64, in arena: inout Arena
  ) {
    let (rows, size) = (sequences * length, c.hiddenSize)
    starts = places.starts
    embeddings = Embeddings(
      places.embeddings, sequences: sequences, length: length, hidden: size, in: &arena)
    var layers: [TransformerLayer] = []
    var hidden = [arena.floats(rows * size)]
    let firstLayer = arena.mark
    for (index, layerPlaces) in places.layers.enumerated() {
      if !keepsActivations { arena.reuse(from: firstLayer) }
      layers.append(
        TransformerLayer(
          layerPlaces, index: index, configuration: c, sequences: sequences, length: length, in: &arena))
      if keepsActivations { hidden.append(arena.floats(rows * size)) }
    }
    if !keepsActivations {
      // Two states that alternate.
      let other = arena.floats(rows * size)
      for index in 1...c.layers { hidden.append(index % 2 == 0 ? hidden[0] : other) }
    }
    self.layers = layers
    pooler = Pooler(places.pooler, sequences: sequences, length: length, hidden: size, in: &arena)
    scratch = LayerScratch(
      c, sequences: sequences, length: length, slices: slices, precision: precision, seed: seed, in: &arena)
    output = EncoderOutput(
      hidden: hidden, lastHidden: MatrixView(hidden[c.layers], rows: rows, columns: size),
      pooled: pooler.pooled)
  }

  /// N×H: hidden state `index`.
  func state(_ index: Int) -> MatrixView {
    let last = output.lastHidden
    return MatrixView(output.hidden[index], rows: last.rows, columns: last.columns)
  }

  /// Leaves what it makes of the batch in `output`.
  func forward(_ pass: Pass) {
    embeddings.forward(pass, into: output.hidden[0])
    for (index, layer) in layers.enumerated() {
      pass.mode.fit?.enter(layer: index)
      layer.forward(state(index), pass, into: output.hidden[index + 1])
      pass.mode.fit?.leave(layer: index, state: output.hidden[index + 1], pass)
      pass.mode.probe?.leave(layer, pass)
    }
    pooler.forward(output.lastHidden, pass)
  }

  /// From the gradients of the last hidden states and the pooled output to those of the parameters, which are added to.
  ///
  /// - Parameters:
  ///   - d: N×H, the gradient to the last hidden states, is used up.
  ///   - dPooled: B×H, is used up.
  ///   - addGradient: adds to the second argument what else the gradient to a hidden state is, from the last one to the
  ///     first.
  ///   - complete: told that the gradients of the elements from a place on are complete.
  func backward(
    _ d: MatrixView, pooled dPooled: MatrixView, _ pass: BackwardPass,
    addGradient: (_ state: Int, _ d: FloatView) -> Void, complete: (Int) -> Void
  ) {
    pooler.backward(dPooled, pass, addingTo: d)
    complete(starts[layers.count])
    for index in layers.indices.reversed() {
      addGradient(index + 1, d.dense)
      layers[index].backward(d.dense, x: state(index), pass)
      complete(starts[index])
    }
    addGradient(0, d.dense)
    embeddings.backward(d.dense, pass)
    complete(0)
  }
}
