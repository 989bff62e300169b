import FileFormats

/// What a fine-tuned model tells of a sequence.
struct ClassifierHead: @unchecked Sendable {
  /// Of the classes, in the order of the outputs; empty where there is one output, a number.
  let labels: [String]
  /// Texts of a sequence: 1 or 2.
  let texts: Int
  let pooling: SequencePooling
  let layer: SequenceHead

  init(_ shape: ModelShape, _ tensors: PackedTensors) throws(BinaryModelError) {
    let metadata = tensors.header.metadata
    labels = try Self.labels(metadata[PackedModelFormat.labelsKey])
    let texts = metadata[PackedModelFormat.textsKey]
    guard texts == "1" || texts == "2" else {
      throw .metadata(key: PackedModelFormat.textsKey, value: texts, wanted: "1 or 2")
    }
    self.texts = texts == "2" ? 2 : 1
    let name = metadata[PackedModelFormat.poolingKey] ?? SequencePooling.first.rawValue
    guard let pooling = SequencePooling(rawValue: name) else {
      throw .metadata(
        key: PackedModelFormat.poolingKey, value: name,
        wanted: SequencePooling.allCases.map(\.rawValue).joined(separator: " or "))
    }
    self.pooling = pooling
    layer = try SequenceHead(
      PackedModelFormat.classifier, outputs: max(1, labels.count), hidden: shape.hiddenSize, tensors)
  }

  private static func labels(_ text: String?) throws(BinaryModelError) -> [String] {
    guard let text else {
      throw .metadata(key: PackedModelFormat.labelsKey, value: nil, wanted: "an array of names")
    }
    var labels: [String] = []
    do throws(JSONProblem) {
      try JSONReader.read(Array(text.utf8)) { reader throws(JSONProblem) in
        try reader.array { reader throws(JSONProblem) in labels.append(try reader.string()) }
      }
    } catch {
      throw .metadata(
        key: PackedModelFormat.labelsKey, value: text, wanted: "an array of names (\(error.text))")
    }
    if labels.count == 1 {
      throw .metadata(key: PackedModelFormat.labelsKey, value: text, wanted: "none, or two names or more")
    }
    return labels
  }
}

/// What a fine-tuned model says of a sequence.
public enum ClassifierAnswer: Equatable, Sendable {
  /// All classes, in the order of the model's outputs (`BinaryModel.labels`).
  case classes([ClassScore])
  case number(Float)

  /// The likeliest class, of equal ones the first; nil for a number.
  public var best: ClassScore? {
    guard case .classes(let scores) = self else { return nil }
    return scores.reduce(scores.first) { best, next in best.map { next.logit > $0.logit ? next : $0 } }
  }
}

/// A class with what a model gives it.
public struct ClassScore: Equatable, Sendable {
  public let label: String
  public let logit: Float
  public let probability: Float
}

extension BinaryModel {
  /// Names of the classes that `classify` tells apart; empty where it tells a number, and without that head.
  public var labels: [String] { classifier?.labels ?? [] }

  /// How many texts the sequences of `classify` hold, as in training: 1 or 2; nil without that head.
  public var classifierTexts: Int? { classifier?.texts }

  /// What a fine-tuned model says of one sequence.
  ///
  ///     let answer = try model.classify(ids)
  ///     print(answer.best?.label ?? "\(answer)")
  ///
  /// - Parameters:
  ///   - tokens: ids, [CLS] and [SEP] included: `[CLS] a [SEP]`, or `[CLS] a [SEP] b [SEP]` of two texts.
  ///   - segments: 0 or 1 for each token (1 for b and its [SEP]); none for all 0.
  /// - Throws: `noHead`, and as `encode`.
  /// - Cost: the encoder's.
  public func classify(
    _ tokens: Span<Int32>, segments: Span<Int32> = Span()
  ) throws(BinaryModelError) -> ClassifierAnswer {
    let logits = try classifierLogits(tokens, segments: segments)
    guard let classifier, !classifier.labels.isEmpty else { return .number(logits[0]) }
    var shares = logits
    shares.withUnsafeMutableBufferPointer {
      network.kernels.pointee.softmax($0.baseAddress!, nil, 1, $0.count, $0.count, 1)
    }
    return .classes(
      classifier.labels.indices.map {
        ClassScore(label: classifier.labels[$0], logit: logits[$0], probability: shares[$0])
      })
  }

  /// The outputs of the classifier: a logit for each of `labels`, or one number.
  ///
  /// - Throws: as `classify`.
  public func classifierLogits(
    _ tokens: Span<Int32>, segments: Span<Int32> = Span()
  ) throws(BinaryModelError) -> [Float] {
    guard let classifier else { throw .noHead(wanted: .classifier) }
    try check(tokens, segments)
    let space = WorkSpace(shape, tokens: tokens.count)
    return withExtendedLifetime(memory) {
      classifier.layer.logits(network) { x in
        switch classifier.pooling {
        case .first:
          // The head reads the first token alone.
          network.run(tokens, segments: segments, wanted: [0], space)
          network.pool(space, into: x)
        case .mean:
          network.run(tokens, segments: segments, space)
          network.sum(tokens.count, space, into: x)
          network.kernels.pointee.scale(1 / Float(tokens.count), shape.hiddenSize, x)
        }
      }
    }
  }
}
