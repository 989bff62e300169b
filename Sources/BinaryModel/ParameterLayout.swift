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

/// One named tensor and its place in the flat buffers.
public struct Parameter: Sendable {
  public let name: String
  public let shape: [Int]
  public let kind: ParameterKind
  /// First element in the flat buffer; a multiple of `ParameterLayout.alignment`.
  public let offset: Int

  public var count: Int { shape.reduce(1, *) }
  public var range: Range<Int> { offset..<offset + count }

  /// Whether weight decay applies: to matrices and tables, as in BERT, which spares biases and the scales of layer
  /// normalisations. Step sizes are spared too. A step size is such a scale, of an operand's ±1: it is fitted to the size of
  /// what it binarises, and to pull it towards zero would not make the model simpler but let ever fewer gradients
  /// through (|x| ≤ α) and the products' scale shrink with the number of steps.
  public var decays: Bool { shape.count == 2 }
}

/// The places of all parameters in one flat float32 buffer. Parameters, gradients, moments and checkpoints share
/// it. Names are those of the authors' release and Hugging Face BERT.
public struct ParameterLayout: Sendable {
  /// Elements between tensors' starts are a multiple of this (64 bytes), so that kernels see aligned memory.
  public static let alignment = 16

  public let configuration: ModelConfiguration
  public let parameters: [Parameter]
  /// Elements of a flat buffer, gaps included (gaps hold zeros).
  public let elementCount: Int
  private let indices: [String: Int]

  public init(_ configuration: ModelConfiguration) {
    var builder = LayoutBuilder()
    builder.addModel(configuration)
    self.configuration = configuration
    parameters = builder.parameters
    elementCount = builder.end
    indices = Dictionary(uniqueKeysWithValues: parameters.enumerated().map { ($1.name, $0) })
  }

  /// The number of parameters proper, without gaps.
  public var parameterCount: Int { parameters.reduce(0) { $0 + $1.count } }

  /// The parameter called `name`, or nil.
  public func find(_ name: String) -> Parameter? { indices[name].map { parameters[$0] } }

  /// The first element of the first parameter whose name begins with `prefix`; there is one.
  func start(of prefix: String) -> Int {
    guard let first = parameters.first(where: { $0.name.hasPrefix(prefix) }) else {
      preconditionFailure("no parameter \(prefix)… in this layout")
    }
    return first.offset
  }

  /// The parameter called `name`, which exists.
  public subscript(_ name: String) -> Parameter {
    guard let index = indices[name] else { preconditionFailure("no parameter \(name) in this layout") }
    return parameters[index]
  }
}

private struct LayoutBuilder {
  var parameters: [Parameter] = []
  var end = 0

  mutating func add(_ name: String, _ shape: [Int], _ kind: ParameterKind = .real) {
    let parameter = Parameter(name: name, shape: shape, kind: kind, offset: end)
    parameters.append(parameter)
    let a = ParameterLayout.alignment
    end = (parameter.range.upperBound + a - 1) / a * a
  }

  mutating func addLinear(_ name: String, _ outputs: Int, _ inputs: Int) {
    add(name + ".weight", [outputs, inputs])
    add(name + ".bias", [outputs])
  }

  mutating func addBinaryLinear(_ name: String, _ outputs: Int, _ inputs: Int) {
    add(name + ".weight", [outputs, inputs], .binaryMatrix)
    add(name + ".bias", [outputs])
    add(name + ".move.bias", [inputs])
    add(name + ".input_clip_val", [], .stepSize)
  }

  mutating func addNormalisation(_ name: String, _ width: Int) {
    add(name + ".weight", [width])
    add(name + ".bias", [width])
  }

  mutating func addModel(_ c: ModelConfiguration) {
    let (hidden, rank) = (c.hiddenSize, c.estimatorRank)
    add("bert.embeddings.word_embeddings.weight", [c.vocabularySize, hidden], .binaryTable)
    add("bert.embeddings.position_embeddings.weight", [c.maximumLength, hidden])
    add("bert.embeddings.token_type_embeddings.weight", [2, hidden])
    addNormalisation("bert.embeddings.LayerNorm", hidden)
    for layer in 0..<c.layers {
      let block = "bert.encoder.layer.\(layer)."
      let attention = block + "attention.self."
      if rank > 0 {
        for estimator in ["q_m", "q_p", "k_m", "k_p"] { addLinear(attention + estimator, rank, hidden) }
        addLinear(attention + "v_p", 1, hidden)
      }
      for projection in ["query", "key", "value"] { addBinaryLinear(attention + projection, hidden, hidden) }
      for operand in ["query", "key", "value", "attn"] { add(attention + "clip_" + operand, [], .stepSize) }
      addBinaryLinear(block + "attention.output.dense", hidden, hidden)
      addNormalisation(block + "attention.output.LayerNorm", hidden)
      addBinaryLinear(block + "intermediate.dense", c.intermediateSize, hidden)
      addBinaryLinear(block + "output.dense", hidden, c.intermediateSize)
      addNormalisation(block + "output.LayerNorm", hidden)
    }
    addBinaryLinear("bert.pooler.dense", hidden, hidden)
    addNormalisation("bert.pooler.LayerNorm", hidden)
    add("cls.predictions.bias", [c.vocabularySize])
    addLinear("cls.predictions.transform.dense", hidden, hidden)
    addNormalisation("cls.predictions.transform.LayerNorm", hidden)
    addLinear("cls.seq_relationship", 2, hidden)
  }
}
