import Kernels

/// One block of the encoder (METHOD, "The network").
///
///     a = LN(dropout(W_o context) + x)     y = LN(dropout(W_2 gelu(W_1 a)) + a)
///
/// Legend: B sequences, T tokens, N = B·T, H hidden, F intermediate.
struct TransformerLayer {
  let attention: Attention
  let attentionOutput: BinaryLinear
  let attentionDropout: OutputDropout
  let attentionNormalisation: LayerNormalisation
  let intermediate: BinaryLinear
  let output: BinaryLinear
  let outputDropout: OutputDropout
  let outputNormalisation: LayerNormalisation

  init(
    _ places: LayerPlaces, index: Int, configuration c: ModelConfiguration, sequences: Int, length: Int,
    in arena: inout Arena
  ) {
    let rows = sequences * length
    // Place 0 is the embeddings' dropout; each layer has three.
    let firstPlace = 1 + 3 * index
    attention = Attention(
      places, configuration: c, sequences: sequences, length: length, dropoutPlace: firstPlace, in: &arena)
    attentionOutput = BinaryLinear(places.attentionOutput, rows: rows, in: &arena)
    attentionDropout = OutputDropout(
      place: firstPlace + 1, sequences: sequences, length: length, width: c.hiddenSize, in: &arena)
    attentionNormalisation = LayerNormalisation(places.attentionNormalisation, rows: rows, in: &arena)
    intermediate = BinaryLinear(places.intermediate, rows: rows, in: &arena)
    output = BinaryLinear(places.output, rows: rows, in: &arena)
    outputDropout = OutputDropout(
      place: firstPlace + 2, sequences: sequences, length: length, width: c.hiddenSize, in: &arena)
    outputNormalisation = LayerNormalisation(places.outputNormalisation, rows: rows, in: &arena)
  }

  /// x: N×H → y: N×H.
  func forward(
    _ x: MatrixView, batch: Batch, mode: ForwardMode, parameters: FloatView, weights: borrowing PackedWeights,
    scratch: LayerScratch, into y: FloatView
  ) {
    let fit = mode.fit
    let (rows, hidden) = (x.rows, x.columns)
    let context = MatrixView(scratch.context, rows: rows, columns: hidden)
    attention.forward(
      x, batch: batch, mode: mode, parameters: parameters, weights: weights, scratch: scratch.attention,
      into: context)
    let middle = MatrixView(scratch.middle, rows: rows, columns: hidden)
    attentionOutput.forward(context, parameters: parameters, weights: weights, fit: fit, into: middle)
    attentionDropout.forward(scratch.middle, batch: batch, dropout: mode.dropout)
    scratch.middle.add(FloatView(base: x.base, count: rows * hidden))
    attentionNormalisation.forward(middle, parameters: parameters, into: scratch.middle)

    let activated = MatrixView(scratch.activated, rows: rows, columns: intermediate.places.outputs)
    intermediate.forward(middle, parameters: parameters, weights: weights, fit: fit, into: activated)
    scratch.activated.gelu(of: scratch.activated)
    let out = MatrixView(y, rows: rows, columns: hidden)
    output.forward(activated, parameters: parameters, weights: weights, fit: fit, into: out)
    outputDropout.forward(y, batch: batch, dropout: mode.dropout)
    y.add(scratch.middle)
    outputNormalisation.forward(out, parameters: parameters, into: y)
  }

  /// d: N×H, the gradient to y, becomes the gradient to x.
  func backward(
    _ d: FloatView, x: MatrixView, mode: ForwardMode, parameters: FloatView, weights: borrowing PackedWeights,
    gradients: FloatView, scratch: LayerScratch
  ) {
    let (rows, hidden) = (x.rows, x.columns)
    let dy = MatrixView(d, rows: rows, columns: hidden)
    outputNormalisation.backward(dy, parameters: parameters, gradients: gradients, into: d)
    // d now is the gradient to the sum; its dropped copy goes through the feed-forward half, itself around it.
    let branch = MatrixView(scratch.middle, rows: rows, columns: hidden)
    scratch.middle.copy(from: d)
    outputDropout.backward(scratch.middle, dropout: mode.dropout)
    let dInner = MatrixView(scratch.activated, rows: rows, columns: intermediate.places.outputs)
    output.backward(
      branch, parameters: parameters, weights: weights, gradients: gradients, add: false, dx: dInner,
      scratch: scratch.backward)
    // What went into GELU is computed again from its bits: one product, against N×F numbers kept for each layer.
    intermediate.product(
      parameters: parameters, weights: weights,
      into: MatrixView(scratch.inner, rows: rows, columns: dInner.columns))
    scratch.activated.multiplyByGELUDerivative(at: scratch.inner)
    intermediate.backward(
      dInner, parameters: parameters, weights: weights, gradients: gradients, add: true, dx: dy,
      scratch: scratch.backward)

    attentionNormalisation.backward(dy, parameters: parameters, gradients: gradients, into: d)
    scratch.middle.copy(from: d)
    attentionDropout.backward(scratch.middle, dropout: mode.dropout)
    let dContext = MatrixView(scratch.context, rows: rows, columns: hidden)
    attentionOutput.backward(
      branch, parameters: parameters, weights: weights, gradients: gradients, add: false, dx: dContext,
      scratch: scratch.backward)
    attention.backward(
      dContext, x: x, mode: mode, parameters: parameters, weights: weights, gradients: gradients,
      scratch: scratch.attention, shared: scratch.backward, addingTo: dy)
  }
}

/// Memory that all layers share. Legend: N rows, H hidden, F intermediate.
struct LayerScratch {
  let attention: AttentionScratch
  var backward: BackwardScratch
  /// N×H
  let context: FloatView
  let middle: FloatView
  /// N×F
  let activated: FloatView
  let inner: FloatView

  init(
    _ c: ModelConfiguration, sequences: Int, length: Int, slices: Int, precision: BackwardPrecision,
    seed: UInt64, in arena: inout Arena
  ) {
    let rows = sequences * length
    attention = AttentionScratch(c, sequences: sequences, length: length, in: &arena)
    backward = BackwardScratch(c, rows: rows, slices: slices, precision: precision, seed: seed, in: &arena)
    context = arena.floats(rows * c.hiddenSize)
    middle = arena.floats(rows * c.hiddenSize)
    activated = arena.floats(rows * c.intermediateSize)
    inner = arena.floats(rows * c.intermediateSize)
  }
}
