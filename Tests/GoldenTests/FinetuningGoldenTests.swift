import BinaryModel
import Foundation
import Kernels
import Parameters
import TensorFiles
import Testing

/// Five steps of fine-tuning against those of the PyTorch reference (scripts/pytorch/finetuning_golden.py).
@Suite struct FinetuningGoldenTests {
  /// One case: NAME.json and NAME.safetensors of Golden/Finetuning.
  struct Case: Sendable, CustomTestStringConvertible {
    struct Settings: Decodable {
      let config: GoldenSettings.Config
      let precision: String
      let classes: Int
      let batch: Int
      let length: Int
      let learningRate: Float
      let losses: [Double]
    }

    let testDescription: String
    let settings: Settings
    let tensors: SafetensorsFile

    init(_ name: String) throws {
      testDescription = name
      let folder = Bundle.module.bundleURL.appending(path: "Golden/Finetuning")
      let decoder = JSONDecoder()
      decoder.keyDecodingStrategy = .convertFromSnakeCase
      settings = try decoder.decode(
        Settings.self, from: Data(contentsOf: folder.appending(path: name + ".json")))
      tensors = try SafetensorsFile(path: folder.appending(path: name + ".safetensors").path)
    }

    func layout() throws -> ModelLayout<Classification> {
      let c = settings.config
      let precision = try #require(ModelPrecision(rawValue: settings.precision))
      return ModelLayout(
        ModelConfiguration(
          vocabularySize: c.vocabSize, hiddenSize: c.hiddenSize, layers: c.numHiddenLayers,
          heads: c.numAttentionHeads, intermediateSize: c.intermediateSize,
          maximumLength: c.maxPositionEmbeddings, estimatorRank: precision == .full ? 0 : c.estimatorRank,
          dropout: 0, precision: precision), Classification(classes: settings.classes))
    }

    func batch(_ step: Int) throws -> Batch<SequenceLabels> {
      func integers(_ name: String) throws -> [Int64] { try tensors.int64s("batch/\(step)/\(name)") }
      let (rows, length) = (settings.batch, settings.length)
      let mask = try integers("attention_mask")
      return Batch(
        tokens: TokenBatch(
          sequences: rows, length: length, inputIDs: try integers("input_ids").map(Int32.init),
          tokenTypeIDs: try integers("token_type_ids").map(Int32.init),
          lengths: (0..<rows).map { row in Int32(mask[row * length..<(row + 1) * length].reduce(0, +)) },
          sampleIDs: (0..<rows).map { UInt64($0) }, epoch: 0),
        labels: SequenceLabels(targets: try integers("labels").map { Float($0) }))
    }
  }

  static let names = ["binary", "half_binary", "full"]

  @Test(arguments: names) func fiveSteps(name: String) throws {
    let golden = try Case(name)
    let (model, settings) = (try golden.layout(), golden.settings)
    let layout = model.parameters
    let parameters = FloatBuffer(count: layout.elementCount)
    let gradients = FloatBuffer(count: layout.elementCount)
    let first = FloatBuffer(count: layout.elementCount)
    let second = FloatBuffer(count: layout.elementCount)
    for parameter in layout.parameters {
      let values = try golden.tensors.floats("param/" + parameter.name)
      try #require(values.count == parameter.count, "\(parameter.name)")
      for (i, value) in values.enumerated() { parameters.view[parameter.offset + i] = value }
    }
    // The reference fits its step sizes to the first batch, too.
    Model.fit(
      parameters.view, layout: model, batch: try golden.batch(0).tokens, rule: .published)
    let start = parameters.view.array

    var network = Model(model, sequences: settings.batch, length: settings.length)
    // Parameters that softmax does not see have no gradient but rounding, which AdamW's first steps magnify.
    var isSeen: [String: Bool] = [:]
    for (index, expected) in settings.losses.enumerated() {
      let batch = try golden.batch(index)
      network.binarise(parameters.view)
      gradients.view.clear()
      var losses = model.objective.noLosses(isDistilled: false)
      network.train(
        parameters.view, gradients: gradients.view, batch: batch, divisors: network.divisors(of: [batch]),
        dropout: nil, into: &losses)
      #expect(
        abs(losses.total - expected) < 1e-4,
        "loss of step \(index + 1): \(losses.total), expected \(expected)")
      for parameter in layout.parameters {
        isSeen[parameter.name] = gradients.view[parameter.range].sumOfSquares().squareRoot() > 1e-6
      }
      AdamW(step: index + 1, learningRate: settings.learningRate, gradientFactor: 1).update(
        parameters.view, gradients: gradients.view, firstMoments: first.view, secondMoments: second.view,
        decay: 0)
    }

    var compared = 0
    for parameter in layout.parameters where isSeen[parameter.name] == true {
      let expected = try golden.tensors.floats("final/" + parameter.name)
      let (found, before) = (parameters.view[parameter.range].array, start[parameter.range])
      func distance(_ a: some Sequence<Float>, _ b: some Sequence<Float>) -> Double {
        zip(a, b).reduce(0.0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }.squareRoot()
      }
      let (moved, off) = (distance(expected, before), distance(expected, found))
      #expect(moved > 0 && off < 0.01 * moved, "\(parameter.name): moved by \(moved), off by \(off)")
      compared += 1
    }
    let unseen = settings.precision == "full" ? 1 : 2
    #expect(compared >= layout.parameters.count - unseen * settings.config.numHiddenLayers)
  }
}
