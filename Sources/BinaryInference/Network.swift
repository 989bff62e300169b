import CBitKernels
import FileFormats

// The parts of a model as pointers into its file (`ModelMemory` keeps them). Legend: H hidden, F intermediate, r rank.

/// y = α·m·(sign(x + b) sign Wᵀ) + bias.
struct BinaryLinear {
  let matrix: BinaryMatrix
  let bias: UnsafePointer<Float>
  /// α
  let step: Float

  init(_ name: String, outputs: Int, inputs: Int, _ tensors: PackedTensors) throws(BinaryModelError) {
    matrix = try tensors.matrix(name + ".weight", outputs: outputs, inputs: inputs)
    bias = try tensors.reals(name + ".bias", [outputs])
    step = try tensors.scalar(name + ".input_clip_val")
  }
}

/// A layer of which only the signs of y, or of gelu(y) as the next layer shifts it, are wanted: bits.
struct BitLinear {
  let matrix: BinaryMatrix
  /// b, one for each input.
  let shift: UnsafePointer<Float>
  let thresholds: BitThresholds

  init(
    _ layer: (name: String, reader: String?), outputs: Int, inputs: Int, _ tensors: PackedTensors
  ) throws(BinaryModelError) {
    matrix = try tensors.matrix(layer.name + ".weight", outputs: outputs, inputs: inputs)
    shift = try tensors.reals(layer.name + ".move.bias", [inputs])
    thresholds = try tensors.thresholds(
      layer.name, outputs: outputs, inputs: inputs, reader: layer.reader)
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

/// The residual estimators of one layer: maps q_m, q_p, k_p, k_m (r×H) and v_p (1×H) as one of R = 4r + 1 outputs.
struct Estimators {
  let weight: UnsafePointer<Float>  // R×H
  let bias: UnsafePointer<Float>  // R

  init(_ prefix: String, rank: Int, hidden: Int, _ tensors: PackedTensors) throws(BinaryModelError) {
    let names = ["q_m", "q_p", "k_p", "k_m", "v_p"].map { prefix + $0 }
    let outputs = [rank, rank, rank, rank, 1]
    weight = try tensors.joined(names.map { $0 + ".weight" }, outputs.map { [$0, hidden] })
    bias = try tensors.joined(names.map { $0 + ".bias" }, outputs.map { [$0] })
  }
}

struct Layer {
  let query: BitLinear
  let key: BitLinear
  let value: BitLinear
  let queryStep: Float
  let keyStep: Float
  let valueStep: Float
  let probabilityStep: Float
  /// nil at rank 0.
  let estimators: Estimators?
  /// b of the attention's output layer, one for each element of the context.
  let contextShift: UnsafePointer<Float>
  let attentionOutput: BinaryLinear
  let attentionNormalisation: Normalisation
  let intermediate: BitLinear
  let output: BinaryLinear
  let outputNormalisation: Normalisation

  init(_ prefix: String, _ shape: ModelShape, _ tensors: PackedTensors) throws(BinaryModelError) {
    let (hidden, inner, own) = (shape.hiddenSize, shape.intermediateSize, prefix + "attention.self.")
    let bitLayers = PackedModelFormat.bitLayers(prefix)
    query = try BitLinear(bitLayers[0], outputs: hidden, inputs: hidden, tensors)
    key = try BitLinear(bitLayers[1], outputs: hidden, inputs: hidden, tensors)
    value = try BitLinear(bitLayers[2], outputs: hidden, inputs: hidden, tensors)
    queryStep = try tensors.scalar(own + "clip_query")
    keyStep = try tensors.scalar(own + "clip_key")
    valueStep = try tensors.scalar(own + "clip_value")
    probabilityStep = try tensors.scalar(own + "clip_attn")
    estimators =
      shape.estimatorRank == 0
      ? nil : try Estimators(own, rank: shape.estimatorRank, hidden: hidden, tensors)
    let attention = prefix + "attention.output."
    contextShift = try tensors.reals(attention + "dense.move.bias", [hidden])
    attentionOutput = try BinaryLinear(attention + "dense", outputs: hidden, inputs: hidden, tensors)
    attentionNormalisation = try Normalisation(attention + "LayerNorm", width: hidden, tensors)
    intermediate = try BitLinear(bitLayers[3], outputs: inner, inputs: hidden, tensors)
    output = try BinaryLinear(prefix + "output.dense", outputs: hidden, inputs: inner, tensors)
    outputNormalisation = try Normalisation(prefix + "output.LayerNorm", width: hidden, tensors)
  }
}

/// A transformer block, by what its activations are.
enum Block {
  case signs(Layer)
  case levels(LevelLayer)

  init(_ prefix: String, _ shape: ModelShape, _ tensors: PackedTensors) throws(BinaryModelError) {
    self =
      shape.hasLevels
      ? .levels(try LevelLayer(prefix, shape, tensors)) : .signs(try Layer(prefix, shape, tensors))
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
  let blocks: [Block]
  let pooler: LevelLinear
  let poolerNormalisation: Normalisation
  /// nil without that head.
  let wordHead: WordHead?
  /// Goes with the head for words; nil where training, or the release that made the file, did without.
  let nextSentence: SequenceHead?

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
    var blocks: [Block] = []
    for index in 0..<shape.layers { blocks.append(try Block("bert.encoder.layer.\(index).", shape, tensors)) }
    self.blocks = blocks
    pooler = try LevelLinear(
      "bert.pooler.dense", outputs: hidden, inputs: hidden, bits: shape.activationBits, tensors)
    poolerNormalisation = try Normalisation("bert.pooler.LayerNorm", width: hidden, tensors)
    wordHead = head == .words ? try WordHead(shape, tensors) : nil
    let name = PackedModelFormat.nextSentence
    nextSentence =
      head == .words && tensors.contain(name + ".weight")
      ? try SequenceHead(name, outputs: 2, hidden: hidden, tensors) : nil
  }
}
