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
  public var dropout: Float

  public init(
    vocabularySize: Int, hiddenSize: Int, layers: Int, heads: Int, intermediateSize: Int, maximumLength: Int,
    estimatorRank: Int, dropout: Float
  ) {
    self.vocabularySize = vocabularySize
    self.hiddenSize = hiddenSize
    self.layers = layers
    self.heads = heads
    self.intermediateSize = intermediateSize
    self.maximumLength = maximumLength
    self.estimatorRank = estimatorRank
    self.dropout = dropout
  }

  public var headSize: Int { hiddenSize / heads }
}
