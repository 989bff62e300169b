import Kernels

/// BiPFT with its pretraining heads: forward, backward and the fit of step sizes for batches of one shape
/// (METHOD, "The network" and "Objective"). Parameters and gradients are flat buffers of a `ParameterLayout`.
///
/// A batch is a micro-batch or a slice of one: memory grows with the slice, and the gradients of the slices of a micro-batch
/// add up to its own.
///
/// Legend: B sequences, T tokens, N = B·T, H hidden, L layers.
///
/// All memory is allocated at first; call `startThreads` before.
public struct PretrainingModel: ~Copyable {
  public let layout: ParameterLayout
  public let sequences: Int
  public let length: Int
  private let places: ModelPlaces
  var weights: PackedWeights
  private var arena = Arena()
  private let embeddings: Embeddings
  private let layers: [TransformerLayer]
  private let pooler: Pooler
  private let predictionHead: PredictionHead
  private let sequenceHead: SequenceHead
  private let scratch: LayerScratch
  /// L + 1 of N×H: the embeddings' output and each layer's. Two that alternate where nothing is kept for backward.
  private let hidden: [FloatView]
  /// N×H: the gradient on its way back.
  private let gradient: FloatView
  /// B×H
  private let pooledGradient: MatrixView
  /// The first element of each layer in the flat vector, and of what comes after the layers.
  private let starts: [Int]

  /// - Parameters:
  ///   - slices: batches that a micro-batch is cut into (`Batch.slices`).
  ///   - seed: of the run, for the random rounding of gradients.
  /// - Precondition: `length` is at most the configuration's maximum length.
  public init(
    _ layout: ParameterLayout, sequences: Int, length: Int, slices: Int = 1,
    backwardPrecision: BackwardPrecision = .float32, seed: UInt64 = 0
  ) {
    self.init(
      layout, sequences: sequences, length: length, slices: slices, keepsActivations: true,
      backwardPrecision: backwardPrecision, seed: seed)
  }

  private init(
    _ layout: ParameterLayout, sequences: Int, length: Int, slices: Int, keepsActivations: Bool,
    backwardPrecision: BackwardPrecision, seed: UInt64
  ) {
    let c = layout.configuration
    precondition(length <= c.maximumLength, "\(length) tokens for a model of at most \(c.maximumLength)")
    self.layout = layout
    self.sequences = sequences
    self.length = length
    places = ModelPlaces(layout)
    weights = PackedWeights(places)
    let rows = sequences * length
    let size = c.hiddenSize
    embeddings = Embeddings(places, sequences: sequences, length: length, hidden: size, in: &arena)
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
      let other = arena.floats(rows * size)
      for index in 1...c.layers { hidden.append(index % 2 == 0 ? hidden[0] : other) }
    }
    self.layers = layers
    self.hidden = hidden
    pooler = Pooler(places, sequences: sequences, length: length, hidden: size, in: &arena)
    predictionHead = PredictionHead(
      places, configuration: c, rows: rows, precision: backwardPrecision, in: &arena)
    sequenceHead = SequenceHead(places, sequences: sequences, in: &arena)
    scratch = LayerScratch(
      c, sequences: sequences, length: length, slices: slices, precision: backwardPrecision, seed: seed,
      in: &arena)
    gradient = arena.floats(rows * size)
    pooledGradient = MatrixView(arena.floats(sequences * size), rows: sequences, columns: size)
    starts =
      (0..<c.layers).map { layout.start(of: "bert.encoder.layer.\($0).") } + [
        layout.start(of: "bert.pooler.")
      ]
  }

  /// Bytes of activations and scratch memory.
  public var activationBytes: Int { arena.byteCount }

  /// Packs the binary weights of `parameters`; call after each change of them.
  ///
  /// - Cost: about four passes over the parameters.
  public mutating func binarise(_ parameters: FloatView) { weights.binarise(parameters) }

  func digestWeights(into digest: inout WordDigest) { weights.add(to: &digest) }

  /// Turns one sign over, as failing memory would; for tests.
  public func corruptOneSign() { weights.signs.first?.base[0] ^= 1 }

  /// Sets every step size in `parameters` from one whole micro-batch, in network order.
  ///
  /// - Cost: one forward pass, and memory for one layer's activations of the micro-batch meanwhile.
  public static func fitStepSizes(
    _ parameters: FloatView, layout: ParameterLayout, batch: Batch, rule: StepSizeFit
  ) {
    var model = PretrainingModel(
      layout, sequences: batch.sequences, length: batch.length, slices: 1, keepsActivations: false,
      backwardPrecision: .float32, seed: 0)
    model.binarise(parameters)
    model.forward(parameters, batch: batch, mode: .fit(rule))
  }

  /// Losses of one batch without dropout or gradients.
  public func evaluate(_ parameters: FloatView, batch: Batch) -> LossSums {
    forward(parameters, batch: batch, mode: .evaluation)
    let divisors = LossDivisors(maskedTokens: batch.maskedTokens, sequences: batch.sequences)
    var sums = predictionHead.losses(
      lastHidden, batch: batch, divisor: divisors.maskedTokens, parameters: parameters, gradients: nil,
      addingTo: nil)
    sums += sequenceHead.losses(batch: batch, divisor: divisors.sequences, teacher: nil)
    return sums
  }

  /// Forward and backward of one batch: adds to `gradients` those of its share of the global loss.
  ///
  /// - Parameters:
  ///   - divisors: counts over the global batch.
  ///   - dropout: nil for none.
  ///   - teacher: what the teacher makes of the same batch, for distillation.
  ///   - reached: told how far it has come.
  public func train(
    _ parameters: FloatView, gradients: FloatView, batch: Batch, divisors: LossDivisors, dropout: Dropout?,
    teacher: TeacherOutput? = nil, reached: (LaneMoment) -> Void = { _ in }
  ) -> LossSums {
    reached(.forward)
    let mode = ForwardMode.training(dropout)
    var scratch = scratch
    scratch.backward.rounding?.epoch = batch.epoch
    scratch.backward.rounding?.sample = batch.sampleIDs[0]
    forward(parameters, batch: batch, mode: mode)
    reached(.backward)
    gradient.clear()
    let d = MatrixView(gradient, rows: sequences * length, columns: layout.configuration.hiddenSize)
    var sums = predictionHead.losses(
      lastHidden, batch: batch, divisor: divisors.maskedTokens, parameters: parameters, gradients: gradients,
      addingTo: d)
    sums += sequenceHead.losses(batch: batch, divisor: divisors.sequences, teacher: teacher?.nspLogits)
    sequenceHead.backward(
      pooled: pooler.pooled, parameters: parameters, gradients: gradients, into: pooledGradient)
    pooler.backward(
      pooledGradient, parameters: parameters, weights: weights, gradients: gradients,
      scratch: scratch.backward,
      addingTo: d)
    reached(.complete(from: starts[layers.count]))
    if teacher != nil { sums.hiddenElements = gradient.count }
    for index in layers.indices.reversed() {
      sums.hidden += distil(index + 1, teacher: teacher, divisors: divisors)
      layers[index].backward(
        gradient, x: state(index), mode: mode, parameters: parameters, weights: weights, gradients: gradients,
        scratch: scratch)
      reached(.complete(from: starts[index]))
    }
    sums.hidden += distil(0, teacher: teacher, divisors: divisors)
    embeddings.backward(gradient, batch: batch, mode: mode, parameters: parameters, gradients: gradients)
    reached(.complete(from: 0))
    return sums
  }

  /// Hidden state `index` of the last forward pass: N×H, 0 for the embeddings' output.
  public func hiddenState(_ index: Int) -> FloatView { hidden[index] }

  /// The NSP logits of the last forward pass: B×2.
  public var nspLogits: [Float] { (0..<sequences * 2).map { sequenceHead.logits.base[$0] } }

  /// The MLM logits of one token of the last forward pass: V elements.
  public func mlmLogits(token: Int, parameters: FloatView) -> [Float] {
    predictionHead.logits(lastHidden, token: token, parameters: parameters).array
  }

  private func state(_ index: Int) -> MatrixView {
    MatrixView(hidden[index], rows: sequences * length, columns: layout.configuration.hiddenSize)
  }
  private var lastHidden: MatrixView { state(layers.count) }

  private func forward(_ parameters: FloatView, batch: Batch, mode: ForwardMode) {
    precondition(
      batch.sequences == sequences && batch.length == length,
      "a batch of \(batch.sequences)×\(batch.length) tokens for a model of \(sequences)×\(length)")
    precondition(
      parameters.count == layout.elementCount, "\(parameters.count) parameters of \(layout.elementCount)")
    embeddings.forward(batch: batch, mode: mode, parameters: parameters, weights: weights, into: hidden[0])
    for (index, layer) in layers.enumerated() {
      layer.forward(
        state(index), batch: batch, mode: mode, parameters: parameters, weights: weights, scratch: scratch,
        into: hidden[index + 1])
    }
    pooler.forward(lastHidden, parameters: parameters, weights: weights, fit: mode.fit)
    sequenceHead.forward(pooler.pooled, parameters: parameters)
  }

  /// Adds the gradient of MSE(student, teacher) / (L + 1) at one hidden state; returns its sum of squares / (L + 1).
  private func distil(_ index: Int, teacher: TeacherOutput?, divisors: LossDivisors) -> Double {
    guard let teacher else { return 0 }
    let states = Double(layers.count + 1)
    let elements = Double(divisors.sequences * length * layout.configuration.hiddenSize)
    return hidden[index].squaredDifference(
      to: teacher.hidden[index], factor: Float(2 / (elements * states)), addingTo: gradient) / states
  }
}
