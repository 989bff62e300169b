import FileFormats
import Kernels
import Parameters

/// Telling classes of whole sequences apart: cross entropy of softmax(W dropout(x) + b), x one vector of a sequence
/// (`SequencePooling`). Targets are numbers of classes.
///
/// Legend: B sequences, C classes.
public struct Classification: Objective {
  /// C, at least 2.
  public let classes: Int
  private let pooling: SequencePooling
  /// What of a teacher, if there is one, is to be matched.
  private let distillation: DistillationTarget
  /// What evaluations record, made of the predictions of all samples.
  private let score: @Sendable ([Prediction]) -> [(key: String, value: Double)]

  public init(
    classes: Int, pooling: SequencePooling = .first, distillation: DistillationTarget = .both,
    score: @escaping @Sendable ([Prediction]) -> [(key: String, value: Double)] = { _ in [] }
  ) {
    precondition(classes > 1, "\(classes) classes")
    self.classes = classes
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
    LinearPlaces(PooledHead.name, outputs: classes, inputs: c.hiddenSize, in: &layout)
  }

  public func teacherHead(_ places: LinearPlaces) -> LinearPlaces? { distillation.hasLogits ? places : nil }

  public func counts(_ labels: SequenceLabels) -> [Int] { [labels.count] }

  public func makeHead(
    _ places: LinearPlaces, _ shape: HeadShape, in arena: inout Arena
  ) -> ClassificationHead {
    ClassificationHead(pooled: PooledHead(places, pooling, shape, in: &arena))
  }

  public func metrics(_ predictions: [Prediction]) -> [(key: String, value: Double)] { score(predictions) }
}

public struct ClassificationHead: ObjectiveHead {
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
      let row = pooled.gradient[rows: b..<b + 1].dense
      row.copy(from: pooled.outputs[rows: b..<b + 1].dense)
      loss += crossEntropy(row, label: Int(target), factor: 1 / Float(divisors.count(0))).loss
    }
    terms.add("task_loss", sum: loss, count: batch.labels.count)
    if let logits = teacher?.logits {
      pooled.distil(
        logits, batch.labels, divisor: divisors.count(0), into: &terms, distance: Distillation.crossEntropy)
    }
    if let gradients { pooled.backward(batch.tokens, parameters: parameters, gradients: gradients) }
  }

  public func predictions(_ batch: Batch<SequenceLabels>) -> [Prediction] { pooled.predictions(batch) }
}
