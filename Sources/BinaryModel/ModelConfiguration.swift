import FileFormats
import Kernels

/// In which operands of its products a model is binary.
public enum ModelPrecision: String, CaseIterable, Sendable {
  /// In weights and activations: BiPFT.
  case binary
  /// In activations alone; weights, the word embedding among them, are used as they are.
  case halfBinary = "half_binary"
  /// In none: BERT itself in float32 (Devlin et al. 2019), its pooler tanh(dense(x₀)), so that the weights of a BERT give
  /// what they give elsewhere.
  case full

  var hasBinaryWeights: Bool { self == .binary }
  public var hasBinaryActivations: Bool { self != .full }
}

/// What stands between the two linear layers of a block's feed-forward half.
public typealias FeedForwardActivation = PackedModelFormat.Activation

/// The shape of a BiPFT model (METHOD of arXiv 2312.08937; BERT's names).
public struct ModelConfiguration: Equatable, Sendable {
  public var vocabularySize: Int
  public var hiddenSize: Int
  public var layers: Int
  public var heads: Int
  public var intermediateSize: Int
  public var maximumLength: Int
  /// Rank of the residual estimators; 0 is BiPFT-A, which has none.
  public var estimatorRank: Int
  /// Whether each head has estimators of the scores of its own, instead of one set for all.
  public var hasEstimatorsPerHead: Bool
  public var dropout: Float
  /// Rank of the low-rank corrections of query, key, value and attention output; 0 has none.
  public var linearRank: Int
  public var precision: ModelPrecision
  /// Which gradients pass the binarisers of signed operands.
  public var gradientWindow: GradientWindow
  /// Bits of an activation where activations are binary: 1, 2, 4 or 8.
  public var activationBits: Int
  public var feedForwardActivation: FeedForwardActivation
  /// How the distances from a teacher's hidden states are put together.
  public var hiddenLoss: HiddenLoss

  /// - Precondition: at full precision there are no estimators and no corrections, which stand for what binarisation
  ///   throws away.
  public init(
    vocabularySize: Int, hiddenSize: Int, layers: Int, heads: Int, intermediateSize: Int, maximumLength: Int,
    estimatorRank: Int, dropout: Float, linearRank: Int = 0, precision: ModelPrecision = .binary,
    gradientWindow: GradientWindow = .stepSize,
    hasEstimatorsPerHead: Bool = false, activationBits: Int = 1,
    feedForwardActivation: FeedForwardActivation = .gelu, hiddenLoss: HiddenLoss = .mean
  ) {
    precondition(
      precision != .full || estimatorRank == 0 && linearRank == 0,
      "estimators of rank \(estimatorRank), corrections of rank \(linearRank) at full precision")
    self.vocabularySize = vocabularySize
    self.hiddenSize = hiddenSize
    self.layers = layers
    self.heads = heads
    self.intermediateSize = intermediateSize
    self.maximumLength = maximumLength
    self.estimatorRank = estimatorRank
    self.hasEstimatorsPerHead = hasEstimatorsPerHead
    self.dropout = dropout
    self.linearRank = linearRank
    self.precision = precision
    self.gradientWindow = gradientWindow
    self.activationBits = activationBits
    self.feedForwardActivation = feedForwardActivation
    self.hiddenLoss = hiddenLoss
  }

  public var headSize: Int { hiddenSize / heads }
  /// The levels of operands that may be negative, and of probabilities, which are not.
  public var signedLevels: LevelSet { LevelSet(bits: activationBits, isSigned: true) }
  public var unsignedLevels: LevelSet { LevelSet(bits: activationBits, isSigned: false) }
  /// Those of what the feed-forward activation puts out.
  public var innerLevels: LevelSet { feedForwardActivation == .relu ? unsignedLevels : signedLevels }
  /// Whether some linear layer's input is more than a sign.
  public var hasLevels: Bool {
    precision.hasBinaryActivations && !(signedLevels.isSign && innerLevels.isSign)
  }
  /// Sets of estimators of the scores.
  public var estimatorSets: Int { hasEstimatorsPerHead ? heads : 1 }
}
