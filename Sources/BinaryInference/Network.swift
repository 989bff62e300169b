import CBitKernels
import FileFormats

// The parts of a model as pointers into its file (`ModelMemory` keeps them). Legend: H hidden, F intermediate, r rank.

/// y = (α·sign(x + b)) (m·sign W)ᵀ + bias.
struct BinaryLinear {
  let matrix: BinaryMatrix
  let bias: UnsafePointer<Float>
  /// b, one for each input.
  let shift: UnsafePointer<Float>
  /// α
  let step: Float

  init(_ name: String, outputs: Int, inputs: Int, _ tensors: PackedTensors) throws(BinaryModelError) {
    matrix = try tensors.matrix(name + ".weight", outputs: outputs, inputs: inputs)
    bias = try tensors.reals(name + ".bias", [outputs])
    shift = try tensors.reals(name + ".move.bias", [inputs])
    step = try tensors.scalar(name + ".input_clip_val")
  }
}

/// Weight and bias of a layer normalisation.
struct Normalisation {
  let weight: UnsafePointer<Float>
  let bias: UnsafePointer<Float>

  init(_ name: String, width: Int, _ tensors: PackedTensors) throws(BinaryModelError) {
    weight = try tensors.reals(name + ".weight", [width])
    bias = try tensors.reals(name + ".bias", [width])
  }
}

/// The residual estimators of one layer: maps q_m, q_p, k_m, k_p (r×H) and v_p (1×H), with their biases.
struct Estimators {
  let weights: [UnsafePointer<Float>]
  let biases: [UnsafePointer<Float>]

  init(_ prefix: String, rank: Int, hidden: Int, _ tensors: PackedTensors) throws(BinaryModelError) {
    var (weights, biases): ([UnsafePointer<Float>], [UnsafePointer<Float>]) = ([], [])
    for (name, outputs) in [("q_m", rank), ("q_p", rank), ("k_m", rank), ("k_p", rank), ("v_p", 1)] {
      weights.append(try tensors.reals(prefix + name + ".weight", [outputs, hidden]))
      biases.append(try tensors.reals(prefix + name + ".bias", [outputs]))
    }
    self.weights = weights
    self.biases = biases
  }
}

struct Layer {
  let query: BinaryLinear
  let key: BinaryLinear
  let value: BinaryLinear
  let queryStep: Float
  let keyStep: Float
  let valueStep: Float
  let probabilityStep: Float
  /// nil at rank 0.
  let estimators: Estimators?
  let attentionOutput: BinaryLinear
  let attentionNormalisation: Normalisation
  let intermediate: BinaryLinear
  let output: BinaryLinear
  let outputNormalisation: Normalisation

  init(_ prefix: String, _ shape: ModelShape, _ tensors: PackedTensors) throws(BinaryModelError) {
    let (hidden, inner, own) = (shape.hiddenSize, shape.intermediateSize, prefix + "attention.self.")
    query = try BinaryLinear(own + "query", outputs: hidden, inputs: hidden, tensors)
    key = try BinaryLinear(own + "key", outputs: hidden, inputs: hidden, tensors)
    value = try BinaryLinear(own + "value", outputs: hidden, inputs: hidden, tensors)
    queryStep = try tensors.scalar(own + "clip_query")
    keyStep = try tensors.scalar(own + "clip_key")
    valueStep = try tensors.scalar(own + "clip_value")
    probabilityStep = try tensors.scalar(own + "clip_attn")
    estimators =
      shape.estimatorRank == 0
      ? nil : try Estimators(own, rank: shape.estimatorRank, hidden: hidden, tensors)
    attentionOutput = try BinaryLinear(
      prefix + "attention.output.dense", outputs: hidden, inputs: hidden, tensors)
    attentionNormalisation = try Normalisation(
      prefix + "attention.output.LayerNorm", width: hidden, tensors)
    intermediate = try BinaryLinear(prefix + "intermediate.dense", outputs: inner, inputs: hidden, tensors)
    output = try BinaryLinear(prefix + "output.dense", outputs: hidden, inputs: inner, tensors)
    outputNormalisation = try Normalisation(prefix + "output.LayerNorm", width: hidden, tensors)
  }
}

/// logits = LN(ReLU(W x + b)) Eᵀ + bias, E the latent word embedding.
struct WordHead {
  let transform: UnsafePointer<Float>  // H×H
  let transformBias: UnsafePointer<Float>
  let normalisation: Normalisation
  let words: RealTable  // V×H
  let bias: UnsafePointer<Float>  // V

  init(_ shape: ModelShape, _ tensors: PackedTensors) throws(BinaryModelError) {
    let hidden = shape.hiddenSize
    transform = try tensors.reals("cls.predictions.transform.dense.weight", [hidden, hidden])
    transformBias = try tensors.reals("cls.predictions.transform.dense.bias", [hidden])
    normalisation = try Normalisation("cls.predictions.transform.LayerNorm", width: hidden, tensors)
    words = try tensors.table(
      "bert.embeddings.word_embeddings.weight", rows: shape.vocabularySize, columns: hidden)
    bias = try tensors.reals("cls.predictions.bias", [shape.vocabularySize])
  }
}

/// The whole network with the kernels that run it. Only pointers to memory that nobody changes, so it may be shared.
struct Network: @unchecked Sendable {
  let kernels: UnsafePointer<bk_kernels>
  let shape: ModelShape
  let words: BinaryTable
  let positions: RealTable
  let types: UnsafePointer<Float>  // 2×H
  let embeddingNormalisation: Normalisation
  let layers: [Layer]
  let pooler: BinaryLinear
  let poolerNormalisation: Normalisation
  /// nil without that head.
  let wordHead: WordHead?

  init(
    _ shape: ModelShape, _ head: ModelHead, _ tensors: PackedTensors, _ kernels: UnsafePointer<bk_kernels>
  ) throws(BinaryModelError) {
    let hidden = shape.hiddenSize
    self.kernels = kernels
    self.shape = shape
    words = try tensors.binaryTable(
      "bert.embeddings.word_embeddings.weight", rows: shape.vocabularySize, columns: hidden)
    positions = try tensors.table(
      "bert.embeddings.position_embeddings.weight", rows: shape.maximumLength, columns: hidden)
    types = try tensors.reals("bert.embeddings.token_type_embeddings.weight", [2, hidden])
    embeddingNormalisation = try Normalisation("bert.embeddings.LayerNorm", width: hidden, tensors)
    var layers: [Layer] = []
    for index in 0..<shape.layers { layers.append(try Layer("bert.encoder.layer.\(index).", shape, tensors)) }
    self.layers = layers
    pooler = try BinaryLinear("bert.pooler.dense", outputs: hidden, inputs: hidden, tensors)
    poolerNormalisation = try Normalisation("bert.pooler.LayerNorm", width: hidden, tensors)
    wordHead = head == .words ? try WordHead(shape, tensors) : nil
  }
}
