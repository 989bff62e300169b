import Kernels
import Parameters

/// What a model is trained for: parameters of its own on top of the encoder's, and losses made of the encoder's output and
/// the labels of a batch. A value of this type is the choice with its settings (how many classes, say).
///
/// To add one, write its type and its `Head` in a file of their own, and name it in `Objectives` (module Training).
public protocol Objective: Sendable {
  associatedtype Labels: BatchLabels
  /// The places of its own parameters.
  associatedtype Places: Sendable
  associatedtype Head: ObjectiveHead where Head.Labels == Labels

  /// The keys of its losses in `metrics.jsonl`, in the order in which they are added.
  var losses: [String] { get }
  /// The keys of those that need the logits of a teacher.
  var distillationLosses: [String] { get }
  /// Whether a teacher's hidden states are to be matched too.
  var distilsHiddenStates: Bool { get }
  /// The keys of shares that evaluations record.
  var shares: [String] { get }

  /// How much the mean of the loss called `key` counts in the whole.
  func weight(of key: String) -> Float
  /// Whether the distance from a teacher's hidden states is taken at padding too, as at all other tokens.
  var distilsPadding: Bool { get }
  /// Whether losses compare the sequences of a micro-batch with each other. Then it is never cut into slices.
  var comparesSequences: Bool { get }

  /// Whether the encoder is trained too. If not, its parameters stay as they are, weight decay included, and no backward
  /// pass goes through it.
  var trainsEncoder: Bool { get }

  /// Adds its parameters behind the encoder's.
  ///
  /// - Parameter words: V×H, the place of the word embedding, for heads that share it.
  func addParameters(
    _ configuration: ModelConfiguration, words: Range<Int>, to layout: inout LayoutBuilder
  ) -> Places

  /// The linear layer on the pooled output whose logits a teacher is to give too; nil for none.
  func teacherHead(_ places: Places) -> LinearPlaces?

  /// The number of things that each of `losses` is a mean over, in a batch with these labels.
  func counts(_ labels: Labels) -> [Int]

  /// The part of the model on top of the encoder, for batches of one shape.
  func makeHead(_ places: Places, _ shape: HeadShape, in arena: inout Arena) -> Head

  /// What an evaluation records besides, made of the predictions of all samples, in their order.
  func metrics(_ predictions: [Prediction]) -> [(key: String, value: Double)]
}

extension Objective {
  public var distillationLosses: [String] { [] }
  public var distilsHiddenStates: Bool { true }
  public var shares: [String] { [] }
  public func weight(of key: String) -> Float { 1 }
  public var distilsPadding: Bool { true }
  public var comparesSequences: Bool { false }
  public var trainsEncoder: Bool { true }
  public func teacherHead(_ places: Places) -> LinearPlaces? { nil }
  public func metrics(_ predictions: [Prediction]) -> [(key: String, value: Double)] { [] }

  /// All sums zero.
  public func noLosses(isDistilled: Bool) -> LossTerms {
    let distillation = (distilsHiddenStates ? [Distillation.key] : []) + distillationLosses
    return LossTerms(
      losses: losses, distillation: isDistilled ? distillation : [], shares: shares, weight: weight)
  }
}

/// The parts of an objective that work on a batch.
public protocol ObjectiveHead {
  associatedtype Labels: BatchLabels

  /// Adds the losses of one batch to `terms`, by the keys of `Objective.losses` and, if there is a teacher,
  /// `distillationLosses`, and its shares; with `gradients` (in training) also adds the gradients.
  ///
  /// A term gets the sum over what counts in this batch, not divided, and the number that counts: of loss number i as many as
  /// `Objective.counts(labels)[i]`. Gradients are those of the sum divided by `divisors.count(i)`, the number over the
  /// global batch, so that batches add up.
  ///
  /// - Parameter teacher: what a teacher makes of the same batch.
  func losses(
    _ output: EncoderOutput, _ batch: Batch<Labels>, divisors: LossDivisors, parameters: FloatView,
    teacher: TeacherOutput?, gradients: HeadGradients?, into terms: inout LossTerms)

  /// The predictions of the batch that `losses` was last called with, one for each sequence that counts.
  func predictions(_ batch: Batch<Labels>) -> [Prediction]
}

extension ObjectiveHead {
  public func predictions(_ batch: Batch<Labels>) -> [Prediction] { [] }
}

/// What a head allocates its memory for. Legend: B sequences, T tokens.
public struct HeadShape: Sendable {
  public let configuration: ModelConfiguration
  /// B and T.
  public let sequences: Int
  public let length: Int
  public let backwardPrecision: BackwardPrecision
}

/// Where a head leaves its gradients, which are all added to, and what else it needs in training. Gradients to the encoder's
/// output count only if `trainsEncoder`.
///
/// Legend: B sequences, N tokens of them, H hidden.
public struct HeadGradients {
  /// Of all parameters.
  public let parameters: FloatView
  /// Takes that of the word embedding instead, if there is one.
  public let words: (any GradientSink)?
  /// N×H: to the last hidden states.
  public let lastHidden: MatrixView
  /// B×H: to the pooled output.
  public let pooled: MatrixView
  /// Of the training pass; nil for none. Places from 1 + 3·layers on are free for heads.
  public let dropout: Dropout?
}

/// What a model says of one sample, beside what is right.
public struct Prediction: Equatable, Sendable {
  public let sample: UInt64
  /// The model's numbers: logits of the classes, say. As many for each sample of an objective.
  public let values: [Float]
  public let label: Float

  public init(sample: UInt64, values: [Float], label: Float) {
    self.sample = sample
    self.values = values
    self.label = label
  }
}
