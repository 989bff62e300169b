import FileFormats
import Kernels

/// The labels of an objective on whole sequences: a number for each, nil where the sequence does not count.
public struct SequenceLabels: BatchLabels {
  public var targets: [Float?]

  public init(targets: [Float?]) { self.targets = targets }

  public func slice(_ own: Range<Int>, length: Int) -> SequenceLabels {
    SequenceLabels(targets: Array(targets[own]))
  }

  public static func joined(_ parts: [SequenceLabels]) -> SequenceLabels {
    SequenceLabels(targets: parts.flatMap(\.targets))
  }

  public var ignored: SequenceLabels { SequenceLabels(targets: targets.map { _ in nil }) }

  /// How many sequences count.
  public var count: Int { targets.count { $0 != nil } }
}

/// A linear layer on one vector of each sequence (`SequencePooling`), with dropout between them in training, as in BERT (Devlin
/// et al. 2019): what `Classification` and `Regression` have in common.
///
/// Legend: B sequences, T tokens, N = B·T, H hidden, O outputs.
struct PooledHead {
  /// The name of its parameters, as in Hugging Face's BERT.
  static let name = "classifier"
  /// Of the distance from a teacher's outputs.
  static let distillationKey = "task_distillation_loss"

  let places: LinearPlaces
  private let pooling: SequencePooling
  /// T
  private let length: Int
  private let dropout: OutputDropout
  /// B×H: the vectors after dropout, and the gradient to them.
  private let input: MatrixView
  private let inputGradient: MatrixView
  /// B×O, and their gradient.
  let outputs: MatrixView
  let gradient: MatrixView

  init(_ places: LinearPlaces, _ pooling: SequencePooling, _ shape: HeadShape, in arena: inout Arena) {
    func matrix(_ columns: Int, _ arena: inout Arena) -> MatrixView {
      MatrixView(arena.floats(shape.sequences * columns), rows: shape.sequences, columns: columns)
    }
    self.places = places
    self.pooling = pooling
    length = shape.length
    // Behind the places of the encoder: one of the embeddings, three of each layer.
    dropout = OutputDropout(
      place: 1 + 3 * shape.configuration.layers, sequences: shape.sequences, length: 1,
      width: places.inputs, in: &arena)
    input = matrix(places.inputs, &arena)
    inputGradient = matrix(places.inputs, &arena)
    outputs = matrix(places.outputs, &arena)
    gradient = matrix(places.outputs, &arena)
  }

  /// What the encoder makes of `tokens` → `outputs`; `gradient` becomes zero.
  func forward(
    _ encoded: EncoderOutput, _ tokens: TokenBatch, parameters: FloatView, order: SumOrder,
    dropout rate: Dropout?
  ) {
    switch pooling {
    case .first:
      input.dense.copy(from: encoded.pooled.dense)
    case .mean:
      input.dense.fill(0)
      for b in 0..<input.rows {
        let mean = input[rows: b..<b + 1].dense
        encoded.lastHidden[rows: own(b, tokens)].addColumnSums(to: mean)
        mean.multiply(by: 1 / Float(tokens.lengths[b]))
      }
    }
    dropout.forward(input.dense, tokens, rate)
    places.forward(input, parameters: parameters, order: order, into: outputs)
    gradient.dense.fill(0)
  }

  /// The rows of sequence `b` among N, padding left out.
  private func own(_ b: Int, _ tokens: TokenBatch) -> Range<Int> {
    b * length..<b * length + Int(tokens.lengths[b])
  }

  /// Adds the distance of the outputs from a teacher's (B×O) to the losses, and its gradient to `gradient`: a mean over the
  /// outputs of all sequences that count.
  ///
  /// - Parameters:
  ///   - divisor: the global number of sequences that count.
  ///   - distance: one of `Distillation`, of the outputs of one sequence.
  func distil(
    _ teacher: FloatView, _ labels: SequenceLabels, divisor: Int, into terms: inout LossTerms,
    distance: (_ student: FloatView, _ teacher: FloatView, _ count: Int, _ gradient: FloatView) -> Double
  ) {
    let width = places.outputs
    var sum = 0.0
    for (b, label) in labels.targets.enumerated() where label != nil {
      let own = b * width..<(b + 1) * width
      sum += distance(outputs.dense[own], teacher[own], divisor * width, gradient.dense[own])
    }
    terms.add(Self.distillationKey, sum: sum, count: labels.count * width)
  }

  /// From `gradient` to those of the parameters and of what the encoder made of `tokens`, which are added to.
  func backward(_ tokens: TokenBatch, parameters: FloatView, gradients: HeadGradients) {
    inputGradient.dense.fill(0)
    places.backward(
      gradient, x: input, parameters: parameters, gradients: gradients.parameters, addingTo: inputGradient)
    if let rate = gradients.dropout { dropout.backward(inputGradient.dense, rate) }
    switch pooling {
    case .first:
      gradients.pooled.dense.addSerial(inputGradient.dense)
    case .mean:
      for b in 0..<input.rows {
        let d = inputGradient[rows: b..<b + 1].dense
        d.multiply(by: 1 / Float(tokens.lengths[b]))
        for token in own(b, tokens) { gradients.lastHidden[rows: token..<token + 1].dense.addSerial(d) }
      }
    }
  }

  /// The outputs of the sequences that count, with what is right.
  func predictions(_ batch: Batch<SequenceLabels>) -> [Prediction] {
    batch.labels.targets.enumerated().compactMap { b, target in
      target.map {
        Prediction(
          sample: batch.tokens.sampleIDs[b], values: outputs[rows: b..<b + 1].dense.array, label: $0)
      }
    }
  }
}
