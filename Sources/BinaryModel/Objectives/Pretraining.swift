import FileFormats
import Kernels
import Parameters

/// The labels of masked-language-model and next-sentence prediction. Legend: B sequences, T tokens.
public struct PretrainingLabels: BatchLabels {
  /// The label of a token or sequence that does not count.
  public static let ignored: Int32 = -100

  /// B×T: the original id where a token is to be predicted, else -100.
  public var masked: [Int32]
  /// B: 0 when the second segment follows the first, 1 when it comes from another document, negative where the
  /// sequence does not count.
  public var nextSentence: [Int32]

  public init(masked: [Int32], nextSentence: [Int32]) {
    self.masked = masked
    self.nextSentence = nextSentence
  }

  public func slice(_ own: Range<Int>, length: Int) -> PretrainingLabels {
    PretrainingLabels(
      masked: Array(masked[own.lowerBound * length..<own.upperBound * length]),
      nextSentence: Array(nextSentence[own]))
  }

  public static func joined(_ parts: [PretrainingLabels]) -> PretrainingLabels {
    PretrainingLabels(masked: parts.flatMap(\.masked), nextSentence: parts.flatMap(\.nextSentence))
  }

  public var ignored: PretrainingLabels {
    PretrainingLabels(
      masked: Array(repeating: Self.ignored, count: masked.count),
      nextSentence: Array(repeating: Self.ignored, count: nextSentence.count))
  }

  /// The number of tokens to predict.
  public var maskedTokens: Int { masked.count { $0 >= 0 } }
}

public typealias PretrainingBatch = Batch<PretrainingLabels>
public typealias PretrainingModel = Model<Pretraining>

extension Batch where Labels == PretrainingLabels {
  /// A batch of pretraining from its parts, see `TokenBatch` and `PretrainingLabels`.
  public init(
    sequences: Int, length: Int, inputIDs: [Int32], tokenTypeIDs: [Int32], lengths: [Int32], labels: [Int32],
    nextSentenceLabels: [Int32], sampleIDs: [UInt64], epoch: UInt32
  ) {
    precondition(
      labels.count == sequences * length && nextSentenceLabels.count == sequences,
      "a batch of \(sequences)×\(length) tokens with \(labels.count), \(nextSentenceLabels.count) labels")
    self.init(
      tokens: TokenBatch(
        sequences: sequences, length: length, inputIDs: inputIDs, tokenTypeIDs: tokenTypeIDs,
        lengths: lengths, sampleIDs: sampleIDs, epoch: epoch),
      labels: PretrainingLabels(masked: labels, nextSentence: nextSentenceLabels))
  }
}

/// BERT's pretraining: masked tokens and next sentences, with a full-precision teacher's NSP logits if there is one
/// (METHOD, "Objective").
public struct Pretraining: Objective {
  public init() {}

  public struct Places: Sendable {
    let prediction: PredictionPlaces
    let nextSentence: LinearPlaces
  }

  public var losses: [String] { ["mlm_loss", "nsp_loss"] }
  public var distillationLosses: [String] { ["nsp_distillation_loss"] }
  public var shares: [String] { ["mlm_accuracy", "nsp_accuracy"] }

  public func addParameters(
    _ c: ModelConfiguration, words: Range<Int>, to layout: inout LayoutBuilder
  ) -> Places {
    Places(
      prediction: PredictionPlaces("cls.predictions.", c, words: words, in: &layout),
      nextSentence: LinearPlaces(
        PackedModelFormat.nextSentence, outputs: 2, inputs: c.hiddenSize, in: &layout))
  }

  public func teacherHead(_ places: Places) -> LinearPlaces? { places.nextSentence }

  public func counts(_ labels: PretrainingLabels) -> [Int] {
    [labels.maskedTokens, labels.nextSentence.count { $0 >= 0 }]
  }

  public func makeHead(_ places: Places, _ shape: HeadShape, in arena: inout Arena) -> PretrainingHead {
    PretrainingHead(
      prediction: PredictionHead(places.prediction, shape, in: &arena),
      nextSentence: NextSentenceHead(places.nextSentence, sequences: shape.sequences, in: &arena))
  }
}

extension Model<Pretraining> {
  /// The NSP logits of what `encode` gave: B×2.
  public func nextSentenceLogits(_ parameters: FloatView, _ output: EncoderOutput) -> [Float] {
    head.nextSentence.places.forward(
      output.pooled, parameters: parameters, order: .fixed, into: head.nextSentence.logits)
    return head.nextSentence.logits.dense.array
  }

  /// The MLM logits of one token of what `encode` gave: V.
  public func wordLogits(_ parameters: FloatView, _ output: EncoderOutput, token: Int) -> [Float] {
    head.prediction.logits(output.lastHidden, token: token, parameters: parameters).array
  }
}

public struct PretrainingHead: ObjectiveHead {
  let prediction: PredictionHead
  let nextSentence: NextSentenceHead

  public func losses(
    _ output: EncoderOutput, _ batch: PretrainingBatch, divisors: LossDivisors, parameters: FloatView,
    teacher: TeacherOutput?, gradients: HeadGradients?, into terms: inout LossTerms
  ) {
    prediction.losses(
      output.lastHidden, labels: batch.labels.masked, divisor: divisors.count(0), parameters: parameters,
      gradients: gradients, into: &terms)
    nextSentence.losses(
      output.pooled, labels: batch.labels.nextSentence, divisor: divisors.count(1), parameters: parameters,
      teacher: teacher?.logits, gradients: gradients, into: &terms)
  }
}
