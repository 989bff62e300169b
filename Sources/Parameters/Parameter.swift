/// How a parameter takes part in the network.
public enum ParameterKind: Sendable {
  /// A matrix used as m·sign(w − mean(w)), m = mean|w| over the matrix.
  case binaryMatrix
  /// The word embedding: binarised as above but with m per row.
  case binaryTable
  /// Used as it is, in float32.
  case real
  /// The step size α of an elastic binariser, fitted from data before the first update.
  case stepSize
}

/// What a parameter holds in a model that no training has touched.
public enum InitialValue: Sendable {
  /// Normal with the deviation of BERT, 0.02.
  case normal
  case zero
  case one
}

/// One named tensor and its place in the flat buffers.
public struct Parameter: Sendable {
  public let name: String
  public let shape: [Int]
  public let kind: ParameterKind
  public let initial: InitialValue
  /// First element in the flat buffer; a multiple of `ParameterLayout.alignment`.
  public let offset: Int

  public var count: Int { shape.reduce(1, *) }
  public var range: Range<Int> { offset..<offset + count }

  /// Whether weight decay applies: to matrices and tables, as in BERT, which spares biases and the scales of layer
  /// normalisations. Step sizes are spared too. A step size is such a scale, of an operand's ±1: it is fitted to the size of
  /// what it binarises, and to pull it towards zero would not make the model simpler but let ever fewer gradients
  /// through (|x| ≤ α) and the products' scale shrink with the number of steps.
  public var decays: Bool { initial == .normal }
}
