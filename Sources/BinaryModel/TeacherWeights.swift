import Kernels

/// The weights of a full-precision BERT in memory, by Hugging Face names without the `bert.` prefix.
public struct TeacherWeights: ~Copyable {
  private let buffer: FloatBuffer
  private let ranges: [String: Range<Int>]
  /// False where the file has no pooler or NSP head: then only hidden states are distilled.
  public let hasSequenceHead: Bool

  /// Reads all that a forward pass needs.
  ///
  /// - Throws: `ModelError` where a tensor is missing or its shape is not the student's.
  /// - Cost: memory and one read of all parameters.
  public init(_ file: PretrainedWeights, configuration: ModelConfiguration) throws(ModelError) {
    let reader = try TeacherReader(file, configuration)
    buffer = FloatBuffer(count: reader.values.count)
    ranges = reader.ranges
    hasSequenceHead = reader.hasSequenceHead
    reader.values.withUnsafeBufferPointer { buffer.view.base.update(from: $0.baseAddress!, count: $0.count) }
  }

  subscript(_ name: String) -> FloatView {
    guard let range = ranges[name] else { preconditionFailure("the teacher has no \(name)") }
    return buffer.view[range]
  }
}

/// Reads the tensors of a BERT one after the other, each starting at a multiple of 64 bytes.
private struct TeacherReader {
  let file: PretrainedWeights
  var values: [Float] = []
  var ranges: [String: Range<Int>] = [:]
  let hasSequenceHead: Bool

  init(_ file: PretrainedWeights, _ c: ModelConfiguration) throws(ModelError) {
    self.file = file
    hasSequenceHead =
      file.find("bert.pooler.dense.weight") != nil && file.find("cls.seq_relationship.weight") != nil
    try checkLayers(file, c.layers)
    try read("embeddings.word_embeddings.weight", [c.vocabularySize, c.hiddenSize])
    try read("embeddings.position_embeddings.weight", [c.maximumLength, c.hiddenSize])
    try read("embeddings.token_type_embeddings.weight", [2, c.hiddenSize])
    try normalisation("embeddings.LayerNorm", c.hiddenSize)
    for layer in 0..<c.layers {
      let block = "encoder.layer.\(layer)."
      for projection in ["query", "key", "value"] {
        try linear(block + "attention.self." + projection, c.hiddenSize, c.hiddenSize)
      }
      try linear(block + "attention.output.dense", c.hiddenSize, c.hiddenSize)
      try normalisation(block + "attention.output.LayerNorm", c.hiddenSize)
      try linear(block + "intermediate.dense", c.intermediateSize, c.hiddenSize)
      try linear(block + "output.dense", c.hiddenSize, c.intermediateSize)
      try normalisation(block + "output.LayerNorm", c.hiddenSize)
    }
    if hasSequenceHead {
      try linear("pooler.dense", c.hiddenSize, c.hiddenSize)
      try linear("cls.seq_relationship", 2, c.hiddenSize)
    }
  }

  private mutating func read(_ name: String, _ shape: [Int]) throws(ModelError) {
    guard let tensor = try file.read("bert." + name, shape: shape) else {
      throw .missing(path: file.path, tensor: name)
    }
    values.append(contentsOf: repeatElement(0, count: -values.count & 15))
    ranges[name] = values.count..<values.count + tensor.count
    values.append(contentsOf: tensor)
  }

  private mutating func linear(_ name: String, _ outputs: Int, _ inputs: Int) throws(ModelError) {
    try read(name + ".weight", [outputs, inputs])
    try read(name + ".bias", [outputs])
  }

  private mutating func normalisation(_ name: String, _ width: Int) throws(ModelError) {
    try read(name + ".weight", [width])
    try read(name + ".bias", [width])
  }
}
