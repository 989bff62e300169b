import Kernels
import Parameters

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

  /// A full-precision pooler, and the linear layer on its output that the student's objective has too.
  struct Head {
    let pooler: Linear
    let linear: Linear
  }

  /// All of it, as views of an arena.
  struct Tensors {
    let words: FloatView
    let positions: FloatView
    let types: FloatView
    let embeddingNormalisation: Normalisation
    let layers: [Layer]
    /// Nil where the file has no pooler or no such head: then only hidden states are distilled.
    let head: Head?
  }

  private let memory: Arena
  let tensors: Tensors

  /// Whether it gives the logits that `Objective.teacherHead` names.
  public var hasHead: Bool { tensors.head != nil }

  /// Reads all that a forward pass needs.
  ///
  /// - Throws: `ModelError` where a tensor is missing, is not finite, or its shape is not the student's, and for a binary
  ///   model.
  /// - Cost: one read of all parameters, one tensor at a time.
  public init<Goal: Objective>(
    _ file: PretrainedWeights, student layout: ModelLayout<Goal>
  ) throws(ModelError) {
    try checkFullPrecision(file)
    var arena = Arena()
    let head = layout.objective.teacherHead(layout.head)
    tensors = try TeacherReader(file: file).tensors(
      layout.configuration, layout.encoder, head: head, in: &arena)
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

/// Reads the tensors of a BERT one after the other. They have the names and shapes of the student's.
private struct TeacherReader {
  let file: PretrainedWeights

  func tensors(
    _ c: ModelConfiguration, _ places: EncoderPlaces, head: LinearPlaces?, in arena: inout Arena
  ) throws(ModelError) -> TeacherWeights.Tensors {
    try checkLayers(file, c.layers)
    let (hidden, embeddings) = (c.hiddenSize, places.embeddings)
    var layers: [TeacherWeights.Layer] = []
    for own in places.layers { layers.append(try layer(own, in: &arena)) }
    var read: TeacherWeights.Head?
    if let head, file.find(places.pooler.dense.linear.name + ".weight") != nil,
      file.find(head.name + ".weight") != nil
    {
      read = TeacherWeights.Head(
        pooler: try linear(places.pooler.dense, in: &arena),
        linear: try linear(head.name, head.outputs, head.inputs, in: &arena))
    }
    return TeacherWeights.Tensors(
      words: try floats(embeddings.wordName, [c.vocabularySize, hidden], in: &arena),
      positions: try floats(embeddings.positionName, [c.maximumLength, hidden], in: &arena),
      types: try floats(embeddings.typeName, [2, hidden], in: &arena),
      embeddingNormalisation: try normalisation(embeddings.normalisation, in: &arena),
      layers: layers, head: read)
  }

  private func layer(_ own: LayerPlaces, in arena: inout Arena) throws(ModelError) -> TeacherWeights.Layer {
    TeacherWeights.Layer(
      query: try linear(own.attention.query, in: &arena), key: try linear(own.attention.key, in: &arena),
      value: try linear(own.attention.value, in: &arena),
      attentionOutput: try linear(own.attentionOutput, in: &arena),
      attentionNormalisation: try normalisation(own.attentionNormalisation, in: &arena),
      intermediate: try linear(own.intermediate, in: &arena), output: try linear(own.output, in: &arena),
      outputNormalisation: try normalisation(own.outputNormalisation, in: &arena))
  }

  private func read(_ name: String, _ shape: [Int]) throws(ModelError) -> [Float] {
    guard let tensor = try file.read(name, shape: shape) else {
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
    _ places: EncoderLinearPlaces, in arena: inout Arena
  ) throws(ModelError) -> TeacherWeights.Linear {
    try linear(places.linear.name, places.linear.outputs, places.linear.inputs, in: &arena)
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
    _ places: NormalisationPlaces, in arena: inout Arena
  ) throws(ModelError) -> TeacherWeights.Normalisation {
    let width = places.weight.count
    return TeacherWeights.Normalisation(
      weight: try floats(places.name + ".weight", [width], in: &arena),
      bias: try floats(places.name + ".bias", [width], in: &arena))
  }
}
