import Kernels
import Parameters

/// A transformer, as binary as its precision says, with its objective: forward, backward and the fit of step sizes for batches of one shape (METHOD,
/// "The network" and "Objective"). Parameters and gradients are flat buffers of a `ModelLayout`.
///
/// A batch is a micro-batch or a slice of one: memory grows with the slice, and the gradients of the slices of a micro-batch
/// add up to its own.
///
/// Legend: B sequences, T tokens, N = B·T, H hidden, L layers.
///
/// All memory is allocated at first; call `startThreads` before.
public struct Model<Goal: Objective>: ~Copyable {
  public typealias Labels = Goal.Labels

  public let layout: ModelLayout<Goal>
  public let sequences: Int
  public let length: Int
  var weights: PackedWeights
  private var arena = Arena()
  private let encoder: Encoder
  let head: Goal.Head
  /// N×H and B×H: the gradients to the last hidden states, on its way back, and to the pooled output.
  private let gradient: MatrixView
  private let pooledGradient: MatrixView

  /// - Parameters:
  ///   - slices: batches that a micro-batch is cut into (`Batch.slices`).
  ///   - seed: of the run, for the random rounding of gradients.
  /// - Precondition: `length` is at most the configuration's maximum length.
  public init(
    _ layout: ModelLayout<Goal>, sequences: Int, length: Int, slices: Int = 1,
    backwardPrecision: BackwardPrecision = .float32, seed: UInt64 = 0
  ) {
    self.init(
      layout, sequences: sequences, length: length, slices: slices, keepsActivations: true,
      backwardPrecision: backwardPrecision, seed: seed)
  }

  private init(
    _ layout: ModelLayout<Goal>, sequences: Int, length: Int, slices: Int, keepsActivations: Bool,
    backwardPrecision: BackwardPrecision, seed: UInt64
  ) {
    let c = layout.configuration
    precondition(
      c.precision == .binary || backwardPrecision == .float32,
      "\(backwardPrecision) gradients for weights that are not binary")
    precondition(length <= c.maximumLength, "\(length) tokens for a model of at most \(c.maximumLength)")
    self.layout = layout
    self.sequences = sequences
    self.length = length
    weights = PackedWeights(layout.parameters)
    encoder = Encoder(
      layout.encoder, c, sequences: sequences, length: length, slices: slices,
      keepsActivations: keepsActivations, precision: backwardPrecision, seed: seed, in: &arena)
    let shape = HeadShape(
      configuration: c, sequences: sequences, length: length, backwardPrecision: backwardPrecision)
    head = layout.objective.makeHead(layout.head, shape, in: &arena)
    let rows = sequences * length
    gradient = MatrixView(arena.floats(rows * c.hiddenSize), rows: rows, columns: c.hiddenSize)
    pooledGradient = MatrixView(
      arena.floats(sequences * c.hiddenSize), rows: sequences, columns: c.hiddenSize)
  }

  /// Bytes of activations and scratch memory.
  public var activationBytes: Int { arena.byteCount }

  /// Packs the binary weights of `parameters`; call after each change of them.
  ///
  /// - Cost: about four passes over the parameters.
  public mutating func binarise(_ parameters: FloatView) { weights.binarise(parameters) }

  /// Turns one sign over, as failing memory would; for tests.
  public func corruptOneSign() { weights.matrices.first?.signs.base[0] ^= 1 }

  /// Sets in `parameters` what one whole micro-batch can tell, in network order: step sizes, and what else the rules say.
  ///
  /// - Returns: what came of it, a layer.
  /// - Cost: one forward pass, and memory for one layer's activations of the micro-batch meanwhile. `StepSizeFit.output`
  ///   and `EstimatorFit.closedForm` cost more, see there.
  @discardableResult
  public static func fit(
    _ parameters: FloatView, layout: ModelLayout<Goal>, batch: TokenBatch, rule: StepSizeFit,
    estimators: EstimatorFit = .gradient
  ) -> [LayerFit] {
    let fit = Fit(rule, estimators, reference: FitReference(parameters, layout, batch))
    pass(parameters, layout: layout, batch: batch, .fit(fit))
    return fit.layers
  }

  /// One forward pass of the encoder over a batch of any shape, in memory of its own.
  static func pass(
    _ parameters: FloatView, layout: ModelLayout<Goal>, batch: TokenBatch, _ mode: ForwardMode
  ) {
    var model = Model(
      layout, sequences: batch.sequences, length: batch.length, slices: 1, keepsActivations: false,
      backwardPrecision: .float32, seed: 0)
    model.binarise(parameters)
    model.encoder.forward(model.pass(batch, mode, parameters))
  }

  /// What the encoder makes of one batch without dropout, valid until the next pass.
  public func encode(_ parameters: FloatView, _ batch: TokenBatch) -> EncoderOutput {
    encoder.forward(pass(batch, .evaluation, parameters))
    return encoder.output
  }

  /// A forward pass over a batch of this shape without dropout, which `probe` looks at.
  func forward(_ parameters: FloatView, _ batch: TokenBatch, for probe: any LayerProbe) {
    encoder.forward(pass(batch, .probe(probe), parameters))
  }

  /// Losses of one batch without dropout or gradients, and what the objective predicts for its sequences.
  ///
  /// - Parameters:
  ///   - teacher: what the teacher makes of the same batch, if there is one.
  ///   - counted: how many of the sequences, from the first on, the distance from its hidden states is taken over; nil for all.
  public func evaluate(
    _ parameters: FloatView, batch: Batch<Labels>, teacher: TeacherOutput? = nil, counted: Int? = nil
  ) -> (losses: LossTerms, predictions: [Prediction]) {
    var losses = layout.objective.noLosses(isDistilled: teacher != nil)
    let output = encode(parameters, batch.tokens)
    head.losses(
      output, batch, divisors: divisors(of: [batch]), parameters: parameters, teacher: teacher,
      gradients: nil, into: &losses)
    let counted = counted ?? sequences
    if let teacher, counted > 0, layout.objective.distilsHiddenStates {
      let elements = counted * length * gradient.columns
      let distance = output.hidden.indices.reduce(0.0) {
        $0
          + self.distance(
            output.hidden[$1][0..<elements], teacher.hidden[$1][0..<elements],
            batch.tokens.slice(0..<counted), elements: elements, addingTo: nil)
      }
      losses.add(Distillation.key, sum: distance, count: elements)
    }
    return (losses, head.predictions(batch))
  }

  /// The distance of one hidden state from a teacher's, see `Distillation.add`.
  private func distance(
    _ student: FloatView, _ teacher: FloatView, _ tokens: TokenBatch, elements: Int,
    addingTo gradient: FloatView?
  ) -> Double {
    let states = layout.configuration.hiddenLoss == .sum ? 1 : layout.configuration.layers + 1
    let weight = layout.objective.weight(of: Distillation.key)
    if layout.objective.distilsPadding {
      return Distillation.add(
        student, teacher, states: states, elements: elements, weight: weight, addingTo: gradient)
    }
    return Distillation.addWithoutPadding(
      student, teacher, tokens, states: states, elements: elements, weight: weight, addingTo: gradient)
  }

  /// What the losses of a step that is just these batches are divided by.
  public func divisors(of batches: [Batch<Labels>]) -> LossDivisors { layout.objective.divisors(of: batches) }

  /// Forward and backward of one batch: adds to `gradients` those of its share of the global loss, and to `losses` its
  /// losses.
  ///
  /// - Parameters:
  ///   - sinks: take some of the gradients instead.
  ///   - divisors: counts over the global batch.
  ///   - dropout: nil for none.
  ///   - teacher: what the teacher makes of the same batch, for distillation.
  ///   - losses: made by `Objective.noLosses`.
  ///   - reached: told how far it has come.
  public func train(
    _ parameters: FloatView, gradients: FloatView, sinks: GradientSinks = GradientSinks(),
    batch: Batch<Labels>, divisors: LossDivisors,
    dropout: Dropout?, teacher: TeacherOutput? = nil, into losses: inout LossTerms,
    reached: (LaneMoment) -> Void = { _ in }
  ) {
    reached(.forward)
    let pass = pass(batch.tokens, .training(dropout), parameters)
    encoder.forward(pass)
    reached(.backward)
    gradient.dense.clear()
    pooledGradient.dense.fill(0)
    head.losses(
      encoder.output, batch, divisors: divisors, parameters: parameters, teacher: teacher,
      gradients: HeadGradients(
        parameters: gradients, words: sinks.words, lastHidden: gradient, pooled: pooledGradient,
        dropout: dropout),
      into: &losses)
    guard layout.objective.trainsEncoder else { return reached(.complete(from: 0)) }
    var distance = 0.0
    let states = encoder.output.hidden
    encoder.backward(
      gradient, pooled: pooledGradient,
      BackwardPass(forward: pass, gradients: gradients, sinks: sinks)
    ) { index, d in
      guard let teacher, layout.objective.distilsHiddenStates else { return }
      distance += self.distance(
        states[index], teacher.hidden[index], batch.tokens,
        elements: divisors.sequences * length * gradient.columns, addingTo: d)
    } complete: {
      reached(.complete(from: $0))
    }
    if teacher != nil, layout.objective.distilsHiddenStates {
      losses.add(Distillation.key, sum: distance, count: gradient.rows * gradient.columns)
    }
  }

  private func pass(_ tokens: TokenBatch, _ mode: ForwardMode, _ parameters: FloatView) -> Pass {
    precondition(
      tokens.sequences == sequences && tokens.length == length,
      "a batch of \(tokens.sequences)×\(tokens.length) tokens for a model of \(sequences)×\(length)")
    let count = layout.parameters.elementCount
    precondition(parameters.count == count, "\(parameters.count) parameters of \(count)")
    return Pass(
      tokens: tokens, mode: mode, parameters: parameters, matrices: weights.matrices,
      tableMean: weights.tableMean, scratch: encoder.scratch, window: layout.configuration.gradientWindow)
  }
}

extension Objective {
  /// What the losses of a step that is just these batches are divided by.
  public func divisors(of batches: [Batch<Labels>]) -> LossDivisors {
    var counts = [Int](repeating: 0, count: losses.count)
    for batch in batches {
      for (index, count) in self.counts(batch.labels).enumerated() { counts[index] += count }
    }
    return LossDivisors(sequences: batches.reduce(0) { $0 + $1.sequences }, counts: counts)
  }
}
