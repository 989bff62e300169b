import Kernels
import Parameters

struct LayerPlaces: Sendable {
  let attention: AttentionPlaces
  let attentionOutput: EncoderLinearPlaces
  let attentionOutputCorrection: CorrectionPlaces?
  let attentionNormalisation: NormalisationPlaces
  let intermediate: EncoderLinearPlaces
  let output: EncoderLinearPlaces
  let outputNormalisation: NormalisationPlaces

  /// Adds the tensors of one block, whose names begin with `prefix`, to a layout.
  init(_ prefix: String, _ c: ModelConfiguration, in layout: inout LayoutBuilder) {
    let (hidden, inner) = (c.hiddenSize, c.intermediateSize)
    attention = AttentionPlaces(prefix + "attention.self.", c, in: &layout)
    attentionOutput = EncoderLinearPlaces(
      prefix + "attention.output.dense", outputs: hidden, inputs: hidden, c, in: &layout)
    attentionOutputCorrection = CorrectionPlaces(
      prefix + "attention.output.lora_o", outputs: hidden, inputs: hidden, rank: c.linearRank, in: &layout)
    attentionNormalisation = NormalisationPlaces(
      prefix + "attention.output.LayerNorm", width: hidden, in: &layout)
    intermediate = EncoderLinearPlaces(
      prefix + "intermediate.dense", outputs: inner, inputs: hidden, c, in: &layout)
    output = EncoderLinearPlaces(
      prefix + "output.dense", outputs: hidden, inputs: inner, c, levels: c.innerLevels, in: &layout)
    outputNormalisation = NormalisationPlaces(prefix + "output.LayerNorm", width: hidden, in: &layout)
  }
}

/// One block of the encoder (METHOD, "The network").
///
///     a = LN(dropout(W_o context) + x)     y = LN(dropout(W_2 f(W_1 a)) + a)     f = gelu or relu
///
/// Legend: B sequences, T tokens, N = B·T, H hidden, F intermediate.
struct TransformerLayer {
  let attention: SelfAttention
  let attentionOutput: EncoderLinear
  /// With the context that it corrects the output of, N×H.
  let attentionOutputCorrection: (correction: LowRankCorrection, context: MatrixView)?
  let attentionDropout: OutputDropout
  let attentionNormalisation: LayerNormalisation
  let intermediate: EncoderLinear
  let output: EncoderLinear
  let outputDropout: OutputDropout
  let outputNormalisation: LayerNormalisation
  private let activation: FeedForwardActivation
  /// F
  private let inner: Int

  init(
    _ places: LayerPlaces, index: Int, configuration c: ModelConfiguration, sequences: Int, length: Int,
    in arena: inout Arena
  ) {
    let rows = sequences * length
    inner = c.intermediateSize
    activation = c.feedForwardActivation
    // Place 0 is the embeddings' dropout; each layer has three.
    let firstPlace = 1 + 3 * index
    attention = SelfAttention(
      places.attention, configuration: c, sequences: sequences, length: length, dropoutPlace: firstPlace,
      in: &arena)
    attentionOutput = EncoderLinear(places.attentionOutput, rows: rows, in: &arena)
    attentionOutputCorrection = places.attentionOutputCorrection.map {
      (
        LowRankCorrection($0, rows: rows, in: &arena),
        MatrixView(arena.floats(rows * c.hiddenSize), rows: rows, columns: c.hiddenSize)
      )
    }
    attentionDropout = OutputDropout(
      place: firstPlace + 1, sequences: sequences, length: length, width: c.hiddenSize, in: &arena)
    attentionNormalisation = LayerNormalisation(places.attentionNormalisation, rows: rows, in: &arena)
    intermediate = EncoderLinear(places.intermediate, rows: rows, in: &arena)
    output = EncoderLinear(places.output, rows: rows, in: &arena)
    outputDropout = OutputDropout(
      place: firstPlace + 2, sequences: sequences, length: length, width: c.hiddenSize, in: &arena)
    outputNormalisation = LayerNormalisation(places.outputNormalisation, rows: rows, in: &arena)
  }

  /// x: N×H → y: N×H.
  func forward(_ x: MatrixView, _ pass: Pass, into y: FloatView) {
    let (rows, hidden, scratch, parameters) = (x.rows, x.columns, pass.scratch, pass.parameters)
    let context = MatrixView(scratch.context, rows: rows, columns: hidden)
    attention.forward(x, pass, into: context)
    let middle = MatrixView(scratch.middle, rows: rows, columns: hidden)
    attentionOutput.forward(context, pass, into: middle)
    if let (correction, kept) = attentionOutputCorrection {
      kept.dense.copy(from: context.dense)
      correction.forward(kept, parameters: parameters, addingTo: middle)
    }
    attentionDropout.forward(scratch.middle, pass)
    scratch.middle.add(x.dense)
    attentionNormalisation.forward(middle, parameters: parameters, into: scratch.middle)

    let activated = MatrixView(scratch.activated, rows: rows, columns: inner)
    intermediate.forward(middle, pass, into: activated)
    activation.apply(to: scratch.activated)
    let out = MatrixView(y, rows: rows, columns: hidden)
    output.forward(activated, pass, into: out)
    outputDropout.forward(y, pass)
    y.add(scratch.middle)
    outputNormalisation.forward(out, parameters: parameters, into: y)
  }

  /// d: N×H, the gradient to y, becomes the gradient to x.
  func backward(_ d: FloatView, x: MatrixView, _ pass: BackwardPass) {
    let (rows, hidden, scratch) = (x.rows, x.columns, pass.scratch)
    let (parameters, gradients) = (pass.parameters, pass.gradients)
    let dy = MatrixView(d, rows: rows, columns: hidden)
    outputNormalisation.backward(dy, parameters: parameters, gradients: gradients, into: d)
    // d now is the gradient to the sum; its dropped copy goes through the feed-forward half, itself around it.
    let branch = MatrixView(scratch.middle, rows: rows, columns: hidden)
    scratch.middle.copy(from: d)
    outputDropout.backward(scratch.middle, pass)
    let dInner = MatrixView(scratch.activated, rows: rows, columns: inner)
    output.backward(branch, pass, add: false, dx: dInner)
    // What went into the activation is computed again from what is kept anyway: one product, against N×F numbers kept for each layer.
    intermediate.product(
      pass.forward, into: MatrixView(scratch.inner, rows: rows, columns: dInner.columns))
    activation.multiplyByDerivative(at: scratch.inner, scratch.activated)
    intermediate.backward(dInner, pass, add: true, dx: dy)

    attentionNormalisation.backward(dy, parameters: parameters, gradients: gradients, into: d)
    scratch.middle.copy(from: d)
    attentionDropout.backward(scratch.middle, pass)
    let dContext = MatrixView(scratch.context, rows: rows, columns: hidden)
    attentionOutput.backward(branch, pass, add: false, dx: dContext)
    if let (correction, context) = attentionOutputCorrection {
      correction.backward(
        branch, x: context, parameters: parameters, gradients: gradients, addingTo: dContext)
    }
    attention.backward(dContext, x: x, pass, addingTo: dy)
  }
}

/// Memory that all layers share. Legend: N rows, H hidden, F intermediate.
struct LayerScratch {
  let attention: AttentionScratch
  let backward: BackwardScratch
  /// N×H
  let context: FloatView
  let middle: FloatView
  /// N×F
  let activated: FloatView
  let inner: FloatView
  /// Products of inputs that are more than signs.
  let levelProducts: LevelProducts

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
    let widest = max(c.hiddenSize, c.intermediateSize)
    levelProducts = LevelProducts(
      inputs: c.hasLevels ? widest : 0, bits: c.activationBits, in: &arena)
  }
}

extension FeedForwardActivation {
  /// x becomes the activation of x.
  func apply(to x: FloatView) {
    switch self {
    case .gelu: x.gelu(of: x)
    case .relu: parallelPanels(x.count, 16_384) { range, _ in x[range].rectify() }
    }
  }

  /// d becomes d times the derivative at x.
  func multiplyByDerivative(at x: FloatView, _ d: FloatView) {
    switch self {
    case .gelu: d.multiplyByGELUDerivative(at: x)
    case .relu: parallelPanels(x.count, 16_384) { range, _ in d[range].rectifyBackward(x[range]) }
    }
  }
}
