import TensorFiles

extension TinyRun {
  /// A random BERT of the tiny shape with Hugging Face names, without the `bert.` prefix.
  static func writeBERT(to path: String) throws {
    var state: UInt32 = 99
    func tensor(_ name: String, _ shape: [Int], around centre: Float = 0) -> Tensor {
      let values = (0..<shape.reduce(1, *)).map { _ -> Float in
        state = state &* 1_664_525 &+ 1_013_904_223
        return centre + (Float(state >> 8) / Float(1 << 24) - 0.5) * 0.1
      }
      return Tensor(name: name, shape: shape, floats: values)
    }
    var tensors = [
      tensor("embeddings.word_embeddings.weight", [31, 24]),
      tensor("embeddings.position_embeddings.weight", [64, 24]),
      tensor("embeddings.token_type_embeddings.weight", [2, 24]),
    ]
    func linear(_ name: String, _ outputs: Int, _ inputs: Int) {
      tensors += [tensor(name + ".weight", [outputs, inputs]), tensor(name + ".bias", [outputs])]
    }
    func normalisation(_ name: String) {
      tensors += [tensor(name + ".gamma", [24], around: 1), tensor(name + ".beta", [24])]
    }
    normalisation("embeddings.LayerNorm")
    for layer in 0..<2 {
      let block = "encoder.layer.\(layer)."
      for projection in ["query", "key", "value"] { linear(block + "attention.self." + projection, 24, 24) }
      linear(block + "attention.output.dense", 24, 24)
      normalisation(block + "attention.output.LayerNorm")
      linear(block + "intermediate.dense", 40, 24)
      linear(block + "output.dense", 24, 40)
      normalisation(block + "output.LayerNorm")
    }
    linear("pooler.dense", 24, 24)
    linear("cls.seq_relationship", 2, 24)
    try writeSafetensors(path: path, tensors: tensors)
  }
}
