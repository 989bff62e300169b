import Kernels

/// The weights of a full-precision BERT in memory: matrices of linear layers in bfloat16, everything else in float32.
public struct TeacherWeights: ~Copyable {
  /// y = x Wᵀ + bias.
  struct Linear {
    let weight: Bfloat16Matrix
    let bias: FloatView
  }

  struct Normalisation {
    let weight: FloatView
    let bias: FloatView
  }

  struct Layer {
    let query: Linear
    let key: Linear
    let value: Linear
    let attentionOutput: Linear
    let attentionNormalisation: Normalisation
    let intermediate: Linear
    let output: Linear
    let outputNormalisation: Normalisation
  }

  struct SequenceHead {
    let pooler: Linear
    let relationship: Linear
  }

  /// All of it, as views of an arena.
  struct Tensors {
    let words: FloatView
    let positions: FloatView
    let types: FloatView
    let embeddingNormalisation: Normalisation
    let layers: [Layer]
    /// Nil where the file has no pooler or NSP head: then only hidden states are distilled.
    let sequenceHead: SequenceHead?
  }

  private let memory: Arena
  let tensors: Tensors

  public var hasSequenceHead: Bool { tensors.sequenceHead != nil }

  /// Reads all that a forward pass needs.
  ///
  /// - Throws: `ModelError` where a tensor is missing, is not finite, or its shape is not the student's.
  /// - Cost: one read of all parameters, one tensor at a time.
  public init(_ file: PretrainedWeights, configuration: ModelConfiguration) throws(ModelError) {
    var arena = Arena()
    tensors = try TeacherReader(file: file).tensors(configuration, in: &arena)
    memory = arena
  }

  /// The bytes that a teacher of this shape, with its NSP head, takes.
  public static func byteCount(_ c: ModelConfiguration) -> Int {
    let hidden = c.hiddenSize
    let matrices = c.layers * (4 * hidden * hidden + 2 * hidden * c.intermediateSize) + hidden * hidden
    let vectors = c.layers * (9 * hidden + c.intermediateSize) + 5 * hidden
    return 2 * matrices + 4 * (vectors + (c.vocabularySize + c.maximumLength + 2) * hidden)
  }
}

/// Reads the tensors of a BERT one after the other, by Hugging Face names without the `bert.` prefix.
private struct TeacherReader {
  let file: PretrainedWeights

  func tensors(_ c: ModelConfiguration, in arena: inout Arena) throws(ModelError) -> TeacherWeights.Tensors {
    try checkLayers(file, c.layers)
    let hidden = c.hiddenSize
    var layers: [TeacherWeights.Layer] = []
    for index in 0..<c.layers { layers.append(try layer("encoder.layer.\(index).", c, in: &arena)) }
    var head: TeacherWeights.SequenceHead?
    if file.find("bert.pooler.dense.weight") != nil && file.find("cls.seq_relationship.weight") != nil {
      head = TeacherWeights.SequenceHead(
        pooler: try linear("pooler.dense", hidden, hidden, in: &arena),
        relationship: try linear("cls.seq_relationship", 2, hidden, in: &arena))
    }
    return TeacherWeights.Tensors(
      words: try floats("embeddings.word_embeddings.weight", [c.vocabularySize, hidden], in: &arena),
      positions: try floats("embeddings.position_embeddings.weight", [c.maximumLength, hidden], in: &arena),
      types: try floats("embeddings.token_type_embeddings.weight", [2, hidden], in: &arena),
      embeddingNormalisation: try normalisation("embeddings.LayerNorm", hidden, in: &arena),
      layers: layers, sequenceHead: head)
  }

  private func layer(
    _ block: String, _ c: ModelConfiguration, in arena: inout Arena
  ) throws(ModelError) -> TeacherWeights.Layer {
    let hidden = c.hiddenSize
    return TeacherWeights.Layer(
      query: try linear(block + "attention.self.query", hidden, hidden, in: &arena),
      key: try linear(block + "attention.self.key", hidden, hidden, in: &arena),
      value: try linear(block + "attention.self.value", hidden, hidden, in: &arena),
      attentionOutput: try linear(block + "attention.output.dense", hidden, hidden, in: &arena),
      attentionNormalisation: try normalisation(block + "attention.output.LayerNorm", hidden, in: &arena),
      intermediate: try linear(block + "intermediate.dense", c.intermediateSize, hidden, in: &arena),
      output: try linear(block + "output.dense", hidden, c.intermediateSize, in: &arena),
      outputNormalisation: try normalisation(block + "output.LayerNorm", hidden, in: &arena))
  }

  private func read(_ name: String, _ shape: [Int]) throws(ModelError) -> [Float] {
    guard let tensor = try file.read("bert." + name, shape: shape) else {
      throw .missing(path: file.path, tensors: [name])
    }
    return tensor
  }

  private func floats(_ name: String, _ shape: [Int], in arena: inout Arena) throws(ModelError) -> FloatView {
    let tensor = try read(name, shape)
    let view = arena.floats(tensor.count)
    tensor.withUnsafeBufferPointer { view.base.update(from: $0.baseAddress!, count: $0.count) }
    return view
  }

  private func linear(
    _ name: String, _ outputs: Int, _ inputs: Int, in arena: inout Arena
  ) throws(ModelError) -> TeacherWeights.Linear {
    var tensor = try read(name + ".weight", [outputs, inputs])
    let weight = Bfloat16Matrix(rows: outputs, columns: inputs, in: &arena)
    tensor.withUnsafeMutableBufferPointer {
      weight.pack(MatrixView(base: $0.baseAddress!, rows: outputs, columns: inputs, stride: inputs))
    }
    return TeacherWeights.Linear(weight: weight, bias: try floats(name + ".bias", [outputs], in: &arena))
  }

  private func normalisation(
    _ name: String, _ width: Int, in arena: inout Arena
  ) throws(ModelError) -> TeacherWeights.Normalisation {
    TeacherWeights.Normalisation(
      weight: try floats(name + ".weight", [width], in: &arena),
      bias: try floats(name + ".bias", [width], in: &arena))
  }
}
