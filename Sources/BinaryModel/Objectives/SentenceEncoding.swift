import Kernels
import Parameters

#if canImport(Glibc)
  import func Glibc.exp
  import func Glibc.log
#else
  import func Darwin.exp
  import func Darwin.log
#endif

/// What each sequence of a batch is for.
public struct SentenceLabels: BatchLabels {
  public enum Use: Equatable, Sendable {
    /// Its embedding is to match the teacher's.
    case matched
    /// Its embedding is a prediction, beside how similar its pair is said to be.
    case compared(score: Float)
    case ignored
  }

  public var uses: [Use]

  public init(uses: [Use]) { self.uses = uses }

  public func slice(_ own: Range<Int>, length: Int) -> SentenceLabels {
    SentenceLabels(uses: Array(uses[own]))
  }

  public static func joined(_ parts: [SentenceLabels]) -> SentenceLabels {
    SentenceLabels(uses: parts.flatMap(\.uses))
  }

  public var ignored: SentenceLabels { SentenceLabels(uses: uses.map { _ in .ignored }) }

  /// How many sequences are to match the teacher.
  public var matched: Int { uses.count { $0 == .matched } }
}

/// Sentence embeddings like those of a full-precision encoder. An embedding e is the mean of the last hidden states of a
/// sequence's tokens ([CLS] and [SEP] are two of them), divided by its norm (Reimers and Gurevych 2019). With f the teacher's:
///
///     cosine_loss = mean of 1 − eᵢ·fᵢ
///     similarity_loss = mean over i of Σ_j p_ij log(p_ij / q_ij),  p_i = softmax_{j≠i}(fᵢ·f_j / τ),  q_i = softmax_{j≠i}(eᵢ·e_j / τ)
///
/// where i and j are sequences of one micro-batch. With `hidden_loss` they are weighted and added.
///
/// Legend: B sequences, T tokens, N = B·T, H hidden.
public struct SentenceEncoding: Objective {
  /// Of the losses in their sum; 0 leaves one out.
  public struct Weights: Equatable, Sendable {
    public var cosine: Float
    public var similarity: Float
    public var hidden: Float

    public init(cosine: Float, similarity: Float, hidden: Float) {
      self.cosine = cosine
      self.similarity = similarity
      self.hidden = hidden
    }
  }

  public static let cosineKey = "cosine_loss"
  public static let similarityKey = "similarity_loss"

  public let weights: Weights
  /// τ
  public let temperature: Float
  /// What evaluations record of the cosines of pairs and how similar they are said to be.
  private let score: @Sendable (_ cosines: [Double], _ scores: [Double]) -> [(key: String, value: Double)]

  public init(
    weights: Weights, temperature: Float,
    score: @escaping @Sendable (_ cosines: [Double], _ scores: [Double]) -> [(key: String, value: Double)] = {
      _, _ in []
    }
  ) {
    self.weights = weights
    self.temperature = temperature
    self.score = score
  }

  public var losses: [String] { [Self.cosineKey, Self.similarityKey] }
  public var comparesSequences: Bool { true }
  public var distilsPadding: Bool { false }

  public func weight(of key: String) -> Float {
    switch key {
    case Self.cosineKey: weights.cosine
    case Self.similarityKey: weights.similarity
    default: weights.hidden
    }
  }

  /// None: the embedding is the encoder's.
  public func addParameters(_ c: ModelConfiguration, words: Range<Int>, to layout: inout LayoutBuilder) {}

  public func counts(_ labels: SentenceLabels) -> [Int] {
    let matched = labels.matched
    return [matched, matched > 1 ? matched : 0]
  }

  public func makeHead(_ places: Void, _ shape: HeadShape, in arena: inout Arena) -> SentenceHead {
    SentenceHead(weights: weights, temperature: temperature, shape, in: &arena)
  }

  public func metrics(_ predictions: [Prediction]) -> [(key: String, value: Double)] {
    if predictions.isEmpty { return [] }
    precondition(predictions.count % 2 == 0, "\(predictions.count) sentences in pairs")
    var (cosines, scores): ([Double], [Double]) = ([], [])
    for first in stride(from: 0, to: predictions.count, by: 2) {
      cosines.append(
        zip(predictions[first].values, predictions[first + 1].values)
          .reduce(0) { $0 + Double($1.0) * Double($1.1) })
      scores.append(Double(predictions[first].label))
    }
    return score(cosines, scores)
  }
}

public struct SentenceHead: ObjectiveHead {
  private let weights: SentenceEncoding.Weights
  private let temperature: Float
  private let length: Int
  /// B×H: embeddings, and the gradient to them.
  private let student: MatrixView
  private let target: MatrixView
  private let gradient: MatrixView
  /// B: 1 over the norm of each mean.
  private let inverseNorms: FloatView
  private let targetInverseNorms: FloatView
  /// B×B: cosines; those of the student become the gradient to them.
  private let cosines: MatrixView
  private let targetCosines: MatrixView

  init(
    weights: SentenceEncoding.Weights, temperature: Float, _ shape: HeadShape, in arena: inout Arena
  ) {
    func matrix(_ columns: Int, _ arena: inout Arena) -> MatrixView {
      MatrixView(arena.floats(shape.sequences * columns), rows: shape.sequences, columns: columns)
    }
    let hidden = shape.configuration.hiddenSize
    self.weights = weights
    self.temperature = temperature
    length = shape.length
    student = matrix(hidden, &arena)
    target = matrix(hidden, &arena)
    gradient = matrix(hidden, &arena)
    inverseNorms = arena.floats(shape.sequences)
    targetInverseNorms = arena.floats(shape.sequences)
    cosines = matrix(shape.sequences, &arena)
    targetCosines = matrix(shape.sequences, &arena)
  }

  /// Without a teacher there are no losses, only embeddings.
  ///
  /// - Cost: 4·B²·H operations forward, 2·B²·H backward, and two passes over hidden states.
  public func losses(
    _ output: EncoderOutput, _ batch: Batch<SentenceLabels>, divisors: LossDivisors, parameters: FloatView,
    teacher: TeacherOutput?, gradients: HeadGradients?, into terms: inout LossTerms
  ) {
    embed(output.lastHidden, batch.tokens, into: student, inverseNorms)
    guard let states = teacher?.hidden.last else { return }
    let last = MatrixView(states, rows: output.lastHidden.rows, columns: output.lastHidden.columns)
    embed(last, batch.tokens, into: target, targetInverseNorms)
    gradient.dense.fill(0)
    matchCosines(batch.labels, divisor: divisors.count(0), into: &terms)
    matchSimilarities(batch.labels, divisor: divisors.count(1), into: &terms)
    if let gradients { backward(batch, into: gradients.lastHidden) }
  }

  public func predictions(_ batch: Batch<SentenceLabels>) -> [Prediction] {
    batch.labels.uses.enumerated().compactMap { b, use in
      guard case .compared(let score) = use else { return nil }
      return Prediction(sample: batch.tokens.sampleIDs[b], values: row(student, b).array, label: score)
    }
  }

  private func row(_ matrix: MatrixView, _ b: Int) -> FloatView { matrix[rows: b..<b + 1].dense }

  /// x: N×H → the normalised means of each sequence's tokens, and 1 / norm of the means.
  private func embed(_ x: MatrixView, _ tokens: TokenBatch, into embeddings: MatrixView, _ norms: FloatView) {
    parallelFor(tokens.sequences) { b, _ in
      let mean = row(embeddings, b)
      mean.fill(0)
      for token in b * length..<b * length + Int(tokens.lengths[b]) { mean.addSerial(row(x, token)) }
      let count = Float(tokens.lengths[b])
      for j in 0..<mean.count { mean.base[j] /= count }
      norms.base[b] = Float(1 / max(mean.sumOfSquares().squareRoot(), 1e-12))
      for j in 0..<mean.count { mean.base[j] *= norms.base[b] }
    }
  }

  /// Adds 1 − e·f of each sequence, and its gradient to `gradient`.
  private func matchCosines(_ labels: SentenceLabels, divisor: Int, into terms: inout LossTerms) {
    let factor = weights.cosine / Float(divisor)
    var loss = 0.0
    for (b, use) in labels.uses.enumerated() where use == .matched {
      let (own, other, d) = (row(student, b), row(target, b), row(gradient, b))
      var cosine = 0.0
      for j in 0..<own.count {
        cosine += Double(own.base[j]) * Double(other.base[j])
        d.base[j] -= factor * other.base[j]
      }
      loss += 1 - cosine
    }
    terms.add(SentenceEncoding.cosineKey, sum: loss, count: labels.matched)
  }

  /// Adds the divergences of each sequence's similarities to the others, and their gradient to `gradient`.
  private func matchSimilarities(_ labels: SentenceLabels, divisor: Int, into terms: inout LossTerms) {
    guard labels.matched > 1 else { return }
    denseProduct(.plain(student), .transposed(student), into: cosines)
    denseProduct(.plain(target), .transposed(target), into: targetCosines)
    let factor = weights.similarity / Float(divisor)
    var loss = 0.0
    for b in 0..<cosines.rows {
      loss += diverge(row(cosines, b), row(targetCosines, b), b, labels, factor: factor)
    }
    terms.add(SentenceEncoding.similarityKey, sum: loss, count: labels.matched)
    // The cosines are a product of the embeddings with themselves.
    denseProduct(.plain(cosines), .plain(student), accumulate: true, into: gradient)
    denseProduct(.transposed(cosines), .plain(student), accumulate: true, into: gradient)
  }

  /// The divergence of sequence b's similarities; its cosines become `factor` times the gradient to them.
  private func diverge(
    _ own: FloatView, _ other: FloatView, _ b: Int, _ labels: SentenceLabels, factor: Float
  ) -> Double {
    func counts(_ j: Int) -> Bool { j != b && labels.uses[j] == .matched }
    guard labels.uses[b] == .matched else {
      own.fill(0)
      return 0
    }
    if temperature == 0 {
      var loss = 0.0
      let pairs = Float(labels.matched - 1)
      for j in 0..<own.count {
        guard counts(j) else {
          own.base[j] = 0
          continue
        }
        let difference = own.base[j] - other.base[j]
        loss += Double(difference * difference / pairs)
        own.base[j] = 2 * difference * factor / pairs
      }
      return loss
    }
    // Cosines are at most 1: no exponent is above 0.
    let scale = Double(temperature)
    func weight(_ cosine: Float) -> Double { exp((Double(cosine) - 1) / scale) }
    var (ownSum, otherSum) = (0.0, 0.0)
    for j in 0..<own.count where counts(j) {
      ownSum += weight(own.base[j])
      otherSum += weight(other.base[j])
    }
    var loss = 0.0
    for j in 0..<own.count {
      guard counts(j) else {
        own.base[j] = 0
        continue
      }
      let (q, p) = (weight(own.base[j]) / ownSum, weight(other.base[j]) / otherSum)
      loss += p * (Double(other.base[j] - own.base[j]) / scale + log(ownSum / otherSum))
      own.base[j] = factor * Float((q - p) / scale)
    }
    return loss
  }

  /// From the gradient to the embeddings to that of the hidden states, which is added to.
  private func backward(_ batch: Batch<SentenceLabels>, into dx: MatrixView) {
    parallelFor(batch.sequences) { b, _ in
      let (d, e) = (row(gradient, b), row(student, b))
      // e = s / |s|: the part of d along e does not count.
      var along: Float = 0
      for j in 0..<d.count { along += d.base[j] * e.base[j] }
      let factor = inverseNorms.base[b] / Float(batch.tokens.lengths[b])
      for j in 0..<d.count { d.base[j] = (d.base[j] - along * e.base[j]) * factor }
      for token in b * length..<b * length + Int(batch.tokens.lengths[b]) { row(dx, token).addSerial(d) }
    }
  }
}
