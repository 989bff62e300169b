import CBitKernels
import FileFormats

// The parts of a model whose activations are more than signs: of 2, 4 or 8 bits, or of one unsigned bit behind a ReLU.

/// y = α·m·(q(x + b) sign Wᵀ) + bias, q the integers of n bits, or the sign.
struct LevelLinear {
  let matrix: BinaryMatrix
  let bias: UnsafePointer<Float>
  /// b, one for each input.
  let shift: UnsafePointer<Float>
  /// α and the integers.
  let levels: bk_levels

  init(
    _ name: String, outputs: Int, inputs: Int, bits: Int, isSigned: Bool = true, _ tensors: PackedTensors
  ) throws(BinaryModelError) {
    matrix = try tensors.matrix(name + ".weight", outputs: outputs, inputs: inputs)
    bias = try tensors.reals(name + ".bias", [outputs])
    shift = try tensors.reals(name + ".move.bias", [inputs])
    levels = bk_level_set(Int32(bits), isSigned, try tensors.scalar(name + ".input_clip_val"))
  }

  /// What the product of two integers is multiplied by: α·m.
  var scale: Float { levels.step * matrix.scale }
}

/// A transformer block of such layers.
struct LevelLayer {
  let query: LevelLinear
  let key: LevelLinear
  let value: LevelLinear
  let queryLevels: bk_levels
  let keyLevels: bk_levels
  let valueLevels: bk_levels
  let probabilityLevels: bk_levels
  /// nil at rank 0.
  let estimators: Estimators?
  let attentionOutput: LevelLinear
  let attentionNormalisation: Normalisation
  let intermediate: LevelLinear
  let output: LevelLinear
  let outputNormalisation: Normalisation

  init(_ prefix: String, _ shape: ModelShape, _ tensors: PackedTensors) throws(BinaryModelError) {
    let (hidden, inner, own) = (shape.hiddenSize, shape.intermediateSize, prefix + "attention.self.")
    let bits = shape.activationBits
    func linear(
      _ name: String, _ outputs: Int, _ inputs: Int, isSigned: Bool = true
    ) throws(BinaryModelError) -> LevelLinear {
      try LevelLinear(name, outputs: outputs, inputs: inputs, bits: bits, isSigned: isSigned, tensors)
    }
    func levels(_ name: String, isSigned: Bool = true) throws(BinaryModelError) -> bk_levels {
      bk_level_set(Int32(bits), isSigned, try tensors.scalar(own + name))
    }
    query = try linear(own + "query", hidden, hidden)
    key = try linear(own + "key", hidden, hidden)
    value = try linear(own + "value", hidden, hidden)
    queryLevels = try levels("clip_query")
    keyLevels = try levels("clip_key")
    valueLevels = try levels("clip_value")
    probabilityLevels = try levels("clip_attn", isSigned: false)
    estimators =
      shape.estimatorRank == 0
      ? nil : try Estimators(own, rank: shape.estimatorRank, hidden: hidden, tensors)
    let attention = prefix + "attention.output."
    attentionOutput = try linear(attention + "dense", hidden, hidden)
    attentionNormalisation = try Normalisation(attention + "LayerNorm", width: hidden, tensors)
    intermediate = try linear(prefix + "intermediate.dense", inner, hidden)
    output = try linear(
      prefix + "output.dense", hidden, inner, isSigned: shape.feedForwardActivation == .gelu)
    outputNormalisation = try Normalisation(prefix + "output.LayerNorm", width: hidden, tensors)
  }
}
