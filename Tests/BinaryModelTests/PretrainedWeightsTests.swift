import BinaryModel
import Foundation
import Kernels
import Parameters
import TensorFiles
import Testing

/// Starting from files of other programs.
@Suite struct PretrainedWeightsTests {
  private static let configuration = ModelConfiguration(
    vocabularySize: 30, hiddenSize: 16, layers: 2, heads: 2, intermediateSize: 24, maximumLength: 10,
    estimatorRank: 1, dropout: 0)
  private static let model = ModelLayout(configuration, Pretraining())
  private static let layout = model.parameters

  /// Whether a full-precision BERT has a parameter.
  private func isOfBERT(_ name: String) -> Bool {
    let new = [
      "move.bias", "clip", ".q_m.", ".q_p.", ".k_m.", ".k_p.", ".v_p.", "pooler.LayerNorm",
    ]
    return !new.contains { name.contains($0) }
  }

  /// Element i of a parameter in the files of these tests.
  private func value(_ parameter: Parameter, _ i: Int) -> Float { Float(parameter.offset + i) / 4 }

  private func tensors(where isIncluded: (String) -> Bool) -> [Tensor] {
    Self.layout.parameters.filter { isIncluded($0.name) }.map { parameter in
      Tensor(
        name: parameter.name, shape: parameter.shape,
        floats: (0..<parameter.count).map { value(parameter, $0) })
    }
  }

  private func replacing(_ name: String, _ shape: [Int], in tensors: [Tensor]) -> [Tensor] {
    tensors.map { tensor in
      guard tensor.name == name else { return tensor }
      return Tensor(name: name, shape: shape, floats: (0..<shape.reduce(1, *)).map { Float($0) })
    }
  }

  private func renamed(_ tensor: Tensor, _ name: String) -> Tensor {
    Tensor(name: name, type: tensor.type, shape: tensor.shape, bytes: tensor.bytes)
  }

  /// Runs `body` on a file of `tensors`, deleted afterwards.
  private func withFile<Result>(_ tensors: [Tensor], _ body: (PretrainedWeights) throws -> Result) throws
    -> Result
  {
    let folder = FileManager.default.temporaryDirectory.appending(path: "bipft-weights-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appending(path: "model.safetensors").path
    try writeSafetensors(path: path, tensors: tensors)
    return try body(PretrainedWeights(path: path))
  }

  private func load(_ tensors: [Tensor]) throws -> (values: [Float], report: Initialisation.LoadReport) {
    let buffer = FloatBuffer(count: Self.layout.elementCount)
    buffer.view.fill(-1)
    let report = try withFile(tensors) {
      try Initialisation.load($0, into: buffer.view, layout: Self.model)
    }
    return (buffer.view.array, report)
  }

  /// The parameters of `names` have their values in the file, all others are untouched.
  private func check(_ values: [Float], has isLoaded: (String) -> Bool) {
    for parameter in Self.layout.parameters {
      let expected = (0..<parameter.count).map { isLoaded(parameter.name) ? value(parameter, $0) : -1 }
      #expect(Array(values[parameter.range]) == expected, "\(parameter.name)")
    }
  }

  @Test(arguments: [true, false], [true, false]) func bert(hasPrefix: Bool, hasOldNames: Bool) throws {
    let file = tensors(where: isOfBERT).map { tensor in
      var name = tensor.name
      if !hasPrefix && name.hasPrefix("bert.") { name.removeFirst("bert.".count) }
      if hasOldNames && name.contains("LayerNorm.") {
        name = name.replacingOccurrences(of: "LayerNorm.weight", with: "LayerNorm.gamma")
          .replacingOccurrences(of: "LayerNorm.bias", with: "LayerNorm.beta")
      }
      return renamed(tensor, name)
    }
    let (values, report) = try load(file)
    check(values, has: isOfBERT)
    #expect(report.missing == Self.layout.parameters.map(\.name).filter { !isOfBERT($0) })
    #expect(!report.hasStepSizes)
  }

  @Test func ownModel() throws {
    let (values, report) = try load(tensors { _ in true })
    check(values) { _ in true }
    #expect(report.missing.isEmpty && report.hasStepSizes)
    // One step size short: all are to be fitted.
    let (_, other) = try load(tensors { !$0.hasSuffix("layer.1.attention.self.clip_attn") })
    #expect(other.missing == ["bert.encoder.layer.1.attention.self.clip_attn"] && !other.hasStepSizes)
  }

  @Test func withoutHeads() throws {
    let isEncoder: (String) -> Bool = {
      isOfBERT($0) && !$0.hasPrefix("cls.") && !$0.contains("pooler")
    }
    let (values, report) = try load(tensors(where: isEncoder))
    check(values, has: isEncoder)
    #expect(report.missing.contains("cls.predictions.bias"))
    #expect(report.missing.contains("bert.pooler.dense.weight"))
  }

  /// The first rows of a longer table of positions serve; a shorter one does not.
  @Test func positions() throws {
    let name = "bert.embeddings.position_embeddings.weight"
    let file = tensors(where: isOfBERT)
    let (values, _) = try load(replacing(name, [15, 16], in: file))
    #expect(Array(values[Self.layout[name].range]) == (0..<160).map { Float($0) })
    expectShapeError(name, [9, 16], [10, 16])
    expectShapeError(name, [15, 8], [10, 16])
  }

  @Test func wrongShapes() {
    expectShapeError("bert.embeddings.word_embeddings.weight", [31, 16], [30, 16])
    expectShapeError("bert.encoder.layer.1.intermediate.dense.weight", [16, 24], [24, 16])
    expectShapeError("cls.predictions.bias", [1, 30], [30])
  }

  private func expectShapeError(_ name: String, _ shape: [Int], _ wanted: [Int]) {
    let error = #expect(throws: ModelError.self) {
      try load(replacing(name, shape, in: tensors(where: isOfBERT)))
    }
    guard case .shape(_, let tensor, shape, wanted) = error, tensor == name else {
      Issue.record("\(name) \(shape): \(String(describing: error))")
      return
    }
    checkDescription(error!, mentions: [name, "\(shape)", "\(wanted)"])
  }

  private func checkDescription(_ error: ModelError, mentions: [String]) {
    let text = error.description
    #expect(!text.contains("\n") && mentions.allSatisfy { text.contains($0) }, "\(text)")
    #expect(text.contains("model.safetensors"), "\(text)")
  }

  @Test func otherNumberOfLayers() {
    let one = tensors { isOfBERT($0) && !$0.contains("layer.1.") }
    let three =
      tensors(where: isOfBERT)
      + tensors { isOfBERT($0) && $0.contains("layer.1.") }.map {
        renamed($0, $0.name.replacingOccurrences(of: "layer.1.", with: "layer.2."))
      }
    for (file, count) in [(one, 1), (three, 3)] {
      let error = #expect(throws: ModelError.self) { try load(file) }
      guard case .layers(_, count, 2) = error else {
        Issue.record("\(count) layers: \(String(describing: error))")
        continue
      }
      checkDescription(error!, mentions: ["\(count) layers", "2"])
    }
  }

  @Test func noBERTAtAll() {
    let error = #expect(throws: ModelError.self) {
      try load([Tensor(name: "conv.weight", shape: [2], floats: [1, 2])])
    }
    guard case .missing(_, "bert.encoder.layer.0.attention.self.query.weight") = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    checkDescription(error!, mentions: ["Hugging Face"])
  }

  @Test func noFile() {
    let error = #expect(throws: ModelError.self) { try PretrainedWeights(path: "/nowhere/model.safetensors") }
    guard case .file = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    checkDescription(error!, mentions: ["/nowhere/model.safetensors"])
  }

  @Test func teacher() throws {
    let all = tensors(where: isOfBERT)
    #expect(try withFile(all) { try TeacherWeights($0, student: Self.model).hasHead })
    for head in ["bert.pooler.", "cls.seq_relationship."] {
      let file = all.filter { !$0.name.hasPrefix(head) }
      #expect(
        try withFile(file) { try !TeacherWeights($0, student: Self.model).hasHead })
    }
    let name = "bert.encoder.layer.1.output.LayerNorm.bias"
    let error = #expect(throws: ModelError.self) {
      try withFile(all.filter { $0.name != name }) {
        _ = try TeacherWeights($0, student: Self.model)
      }
    }
    guard case .missing(_, name) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    checkDescription(error!, mentions: [name])
  }
}
