/// What the losses of a step are divided by: counts over the global batch, known before backward, so that lanes can be
/// added up.
public struct LossDivisors: Equatable, Sendable {
  /// Tokens to predict. Text that the vocabulary does not know gives none; the loss over them then is 0, not 0 / 0.
  public let maskedTokens: Int
  public let sequences: Int

  public init(maskedTokens: Int, sequences: Int) {
    precondition(
      maskedTokens >= 0 && sequences > 0, "\(maskedTokens) masked tokens in \(sequences) sequences")
    self.maskedTokens = maskedTokens
    self.sequences = sequences
  }
}

/// Sums over one micro-batch (or, added in order, over many): divide to have means.
public struct LossSums: Equatable, Sendable {
  /// Cross entropy over the tokens to predict, in nats.
  public var mlm = 0.0
  public var mlmCorrect = 0
  public var maskedTokens = 0
  /// Cross entropy over the sequences.
  public var nsp = 0.0
  public var nspCorrect = 0
  public var sequences = 0
  /// Distillation: the mean over hidden states of Σ(student − teacher)², and how many elements one hidden state has.
  public var hidden = 0.0
  public var hiddenElements = 0
  /// Distillation: Σ −softmax(t)·log softmax(s) over the NSP logits.
  public var nspDistillation = 0.0

  public init() {}

  public static func += (sum: inout LossSums, other: LossSums) {
    sum.mlm += other.mlm
    sum.mlmCorrect += other.mlmCorrect
    sum.maskedTokens += other.maskedTokens
    sum.nsp += other.nsp
    sum.nspCorrect += other.nspCorrect
    sum.sequences += other.sequences
    sum.hidden += other.hidden
    sum.hiddenElements += other.hiddenElements
    sum.nspDistillation += other.nspDistillation
  }

  public var mlmLoss: Double { maskedTokens == 0 ? 0 : mlm / Double(maskedTokens) }
  public var nspLoss: Double { sequences == 0 ? 0 : nsp / Double(sequences) }
  public var hiddenLoss: Double { hiddenElements == 0 ? 0 : hidden / Double(hiddenElements) }
  public var nspDistillationLoss: Double { sequences == 0 ? 0 : nspDistillation / Double(2 * sequences) }
  /// METHOD, "Objective".
  public var total: Double { mlmLoss + nspLoss + hiddenLoss + nspDistillationLoss }
  public var mlmAccuracy: Double { maskedTokens == 0 ? 0 : Double(mlmCorrect) / Double(maskedTokens) }
  public var nspAccuracy: Double { sequences == 0 ? 0 : Double(nspCorrect) / Double(sequences) }
}
