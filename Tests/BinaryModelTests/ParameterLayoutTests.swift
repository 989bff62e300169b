import BinaryModel
import Parameters
import Testing

@Suite struct ParameterLayoutTests {
  static let base = ModelConfiguration(
    vocabularySize: 30_522, hiddenSize: 768, layers: 12, heads: 12, intermediateSize: 3_072,
    maximumLength: 512, estimatorRank: 1, dropout: 0.1)

  /// METHOD's names for BERT-base with `rank`, with their shapes.
  private func expected(rank: Int) -> [String: [Int]] {
    var shapes: [String: [Int]] = [
      "bert.embeddings.word_embeddings.weight": [30_522, 768],
      "bert.embeddings.position_embeddings.weight": [512, 768],
      "bert.embeddings.token_type_embeddings.weight": [2, 768],
      "bert.embeddings.LayerNorm.weight": [768],
      "bert.embeddings.LayerNorm.bias": [768],
      "bert.pooler.LayerNorm.weight": [768],
      "bert.pooler.LayerNorm.bias": [768],
      "cls.predictions.bias": [30_522],
      "cls.predictions.transform.dense.weight": [768, 768],
      "cls.predictions.transform.dense.bias": [768],
      "cls.predictions.transform.LayerNorm.weight": [768],
      "cls.predictions.transform.LayerNorm.bias": [768],
      "cls.seq_relationship.weight": [2, 768],
      "cls.seq_relationship.bias": [2],
    ]
    func binary(_ name: String, _ outputs: Int, _ inputs: Int) {
      shapes[name + ".weight"] = [outputs, inputs]
      shapes[name + ".bias"] = [outputs]
      shapes[name + ".move.bias"] = [inputs]
      shapes[name + ".input_clip_val"] = []
    }
    binary("bert.pooler.dense", 768, 768)
    for layer in 0..<12 {
      let block = "bert.encoder.layer.\(layer)."
      for projection in ["query", "key", "value"] { binary(block + "attention.self." + projection, 768, 768) }
      for operand in ["query", "key", "value", "attn"] {
        shapes[block + "attention.self.clip_" + operand] = []
      }
      for (estimator, outputs) in [("q_p", rank), ("k_p", rank), ("q_m", rank), ("k_m", rank), ("v_p", 1)]
      where rank > 0 {
        shapes[block + "attention.self.\(estimator).weight"] = [outputs, 768]
        shapes[block + "attention.self.\(estimator).bias"] = [outputs]
      }
      binary(block + "attention.output.dense", 768, 768)
      binary(block + "intermediate.dense", 3_072, 768)
      binary(block + "output.dense", 768, 3_072)
      for norm in ["attention.output.LayerNorm", "output.LayerNorm"] {
        shapes[block + norm + ".weight"] = [768]
        shapes[block + norm + ".bias"] = [768]
      }
    }
    return shapes
  }

  @Test(arguments: [0, 1, 8]) func namesAndShapes(rank: Int) {
    var configuration = Self.base
    configuration.estimatorRank = rank
    let layout = ModelLayout(configuration, Pretraining()).parameters
    let found = Dictionary(uniqueKeysWithValues: layout.parameters.map { ($0.name, $0.shape) })
    #expect(found == expected(rank: rank))
    for parameter in layout.parameters {
      #expect(layout[parameter.name].offset == parameter.offset)
      #expect(layout.find(parameter.name)?.shape == parameter.shape)
    }
    #expect(layout.find("bert.embeddings") == nil)
  }

  /// By hand. Embeddings: (30522 + 512 + 2 + 2)·768 = 23,837,184. A layer: four 768² linears of 591,361 (bias and
  /// shift 768 each, one step), two 768×3072 linears of 2,363,137, four steps, five estimators of 769, two
  /// normalisations of 1,536: 7,098,639. Pooler 591,361 + 1,536. Heads 30,522 + 590,592 + 1,536 + 1,538.
  @Test func countOfBERTBase() {
    #expect(
      ModelLayout(Self.base, Pretraining()).parameters.parameterCount == 23_837_184 + 12 * 7_098_639 + 592_897
        + 624_188)
    var plain = Self.base
    plain.estimatorRank = 0
    #expect(ModelLayout(plain, Pretraining()).parameters.parameterCount == 110_237_937 - 12 * 5 * 769)
  }

  @Test(arguments: [0, 1, 3]) func placesAreAlignedAndApart(rank: Int) {
    for configuration in [TinyModel.configuration(rank: rank), Self.base] {
      let layout = ModelLayout(configuration, Pretraining()).parameters
      var end = 0
      for parameter in layout.parameters {
        #expect(parameter.offset % ParameterLayout.alignment == 0)
        #expect(parameter.offset >= end && parameter.offset < end + ParameterLayout.alignment)
        #expect(parameter.count == parameter.shape.reduce(1, *) && parameter.range.count == parameter.count)
        end = parameter.range.upperBound
      }
      #expect(layout.elementCount >= end && layout.elementCount < end + ParameterLayout.alignment)
      #expect(layout.elementCount % ParameterLayout.alignment == 0)
      #expect(layout.parameterCount == layout.parameters.reduce(0) { $0 + $1.count })
    }
  }

  @Test func kindsAndDecay() {
    for parameter in ModelLayout(Self.base, Pretraining()).parameters.parameters {
      let name = parameter.name
      let isStep = name.hasSuffix("input_clip_val") || name.contains(".clip_")
      #expect((parameter.kind == .stepSize) == isStep, "\(name)")
      #expect(
        (parameter.kind == .binaryTable) == (name == "bert.embeddings.word_embeddings.weight"), "\(name)")
      let binary = [
        "query.weight", "key.weight", "value.weight", "attention.output.dense.weight",
        "intermediate.dense.weight", "output.dense.weight", "pooler.dense.weight",
      ].contains { name.hasSuffix($0) }
      #expect((parameter.kind == .binaryMatrix) == binary, "\(name)")
      let isSpared = name.hasSuffix("bias") || name.hasSuffix("LayerNorm.weight") || isStep
      #expect(parameter.decays == !isSpared, "\(name)")
    }
  }
}
