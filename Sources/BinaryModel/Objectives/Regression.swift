import FileFormats
import Kernels
import Parameters

/// A number for each whole sequence: the squared difference of w·dropout(x) + b from the target, x one vector of the
/// sequence (`SequencePooling`).
public struct Regression: Objective {
  private let pooling: SequencePooling
  /// What of a teacher, if there is one, is to be matched.
  private let distillation: DistillationTarget
  /// What evaluations record, made of the predictions of all samples.
  private let score: @Sendable ([Prediction]) -> [(key: String, value: Double)]

  public init(
    pooling: SequencePooling = .first, distillation: DistillationTarget = .both,
    score: @escaping @Sendable ([Prediction]) -> [(key: String, value: Double)] = { _ in [] }
  ) {
    self.pooling = pooling
    self.distillation = distillation
    self.score = score
  }

  public var losses: [String] { ["task_loss"] }
  public var distillationLosses: [String] { distillation.hasLogits ? [PooledHead.distillationKey] : [] }
  public var distilsHiddenStates: Bool { distillation.hasHiddenStates }

  public func addParameters(
    _ c: ModelConfiguration, words: Range<Int>, to layout: inout LayoutBuilder
  ) -> LinearPlaces {
    LinearPlaces(PooledHead.name, outputs: 1, inputs: c.hiddenSize, in: &layout)
  }

  public func teacherHead(_ places: LinearPlaces) -> LinearPlaces? { distillation.hasLogits ? places : nil }

  public func counts(_ labels: SequenceLabels) -> [Int] { [labels.count] }

  public func makeHead(_ places: LinearPlaces, _ shape: HeadShape, in arena: inout Arena) -> RegressionHead {
    RegressionHead(pooled: PooledHead(places, pooling, shape, in: &arena))
  }

  public func metrics(_ predictions: [Prediction]) -> [(key: String, value: Double)] { score(predictions) }
}

public struct RegressionHead: ObjectiveHead {
  let pooled: PooledHead

  public func losses(
    _ output: EncoderOutput, _ batch: Batch<SequenceLabels>, divisors: LossDivisors, parameters: FloatView,
    teacher: TeacherOutput?, gradients: HeadGradients?, into terms: inout LossTerms
  ) {
    pooled.forward(
      output, batch.tokens, parameters: parameters, order: gradients == nil ? .fixed : .training,
      dropout: gradients?.dropout)
    var loss = 0.0
    for (b, target) in batch.labels.targets.enumerated() {
      guard let target else { continue }
      let difference = pooled.outputs.base[b] - target
      loss += Double(difference) * Double(difference)
      pooled.gradient.base[b] = 2 * difference / Float(divisors.count(0))
    }
    terms.add("task_loss", sum: loss, count: batch.labels.count)
    if let logits = teacher?.logits {
      pooled.distil(
        logits, batch.labels, divisor: divisors.count(0), into: &terms, distance: Distillation.squaredError)
    }
    if let gradients { pooled.backward(batch.tokens, parameters: parameters, gradients: gradients) }
  }

  public func predictions(_ batch: Batch<SequenceLabels>) -> [Prediction] { pooled.predictions(batch) }
}
