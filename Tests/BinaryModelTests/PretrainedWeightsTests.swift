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
    expectRowsError(name, [9, 16], mentions: ["9 rows", "needs 10", "model.maximum_length"])
    expectShapeError(name, [15, 8], [10, 16])
  }

  /// A vocabulary padded to a round number: the first rows serve, for words and for their biases, and the user is told.
  @Test func paddedVocabulary() throws {
    let (words, bias) = ("bert.embeddings.word_embeddings.weight", "cls.predictions.bias")
    // Nothing is taken of the padding, so it may hold anything.
    let padding = [Float](repeating: .nan, count: 2 * 16)
    let file = tensors(where: isOfBERT).map { tensor in
      switch tensor.name {
      case words: Tensor(name: words, shape: [32, 16], floats: (0..<480).map { Float($0) } + padding)
      case bias: Tensor(name: bias, shape: [32], floats: (0..<32).map { Float($0) })
      default: tensor
      }
    }
    let (values, report) = try load(file)
    #expect(Array(values[Self.layout[words].range]) == (0..<480).map { Float($0) })
    #expect(Array(values[Self.layout[bias].range]) == (0..<30).map { Float($0) })
    #expect(!report.missing.contains(words))
    try withFile(file) {
      #expect($0.notes(for: Self.configuration) == ["the first 30 of its 32 word embeddings"])
      _ = try TeacherWeights($0, student: Self.model)
    }
    try withFile(tensors(where: isOfBERT)) { #expect($0.notes(for: Self.configuration).isEmpty) }
    // Fewer rows than tokens, or so many more that it is another vocabulary.
    expectRowsError(words, [29, 16], mentions: ["29 rows", "30 tokens", "bipft corpus build --vocab"])
    expectRowsError(words, [1054, 16], mentions: ["1054 rows", "30 tokens", "bipft corpus build --vocab"])
    expectRowsError(bias, [29], mentions: ["29 rows", "30 tokens"])
  }

  private func expectRowsError(_ name: String, _ shape: [Int], mentions: [String]) {
    let error = #expect(throws: ModelError.self) {
      try load(replacing(name, shape, in: tensors(where: isOfBERT)))
    }
    guard case .rows(_, name, shape[0], _, _) = error else {
      Issue.record("\(name) \(shape): \(String(describing: error))")
      return
    }
    checkDescription(error!, mentions: [name] + mentions)
  }

  /// One tensor short, or half of a sharded model: refused by name, where a BERT without heads is taken.
  @Test(arguments: [
    "bert.embeddings.word_embeddings.weight", "bert.embeddings.LayerNorm.bias",
    "bert.encoder.layer.0.attention.self.value.weight", "bert.encoder.layer.1.attention.self.query.weight",
    "bert.encoder.layer.1.output.dense.bias", "bert.encoder.layer.1.output.LayerNorm.weight",
  ])
  func hole(name: String) {
    let error = #expect(throws: ModelError.self) { try load(tensors { isOfBERT($0) && $0 != name }) }
    guard case .missing(_, [name]) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    checkDescription(error!, mentions: [name, "model.safetensors.index.json"])
  }

  @Test func secondShardAlone() {
    let error = #expect(throws: ModelError.self) { try load(tensors { $0.contains("layer.1.") }) }
    guard case .missing(_, let names) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(names.count == 5 + 16 && names[0] == "bert.embeddings.word_embeddings.weight")
    checkDescription(error!, mentions: [names[0], "and 17 more"])
  }

  @Test func whatStaysAtItsDefaultIsNamed() throws {
    let (_, bert) = try load(tensors(where: isOfBERT))
    #expect(
      bert.missingText == "34 shifts and step sizes of the binarisers, 20 of the residual estimators, "
        + "bert.pooler.LayerNorm.weight, bert.pooler.LayerNorm.bias")
    let (_, whole) = try load(tensors { _ in true })
    #expect(whole.missingText == "none")
  }

  /// NaN and infinity, in every type that can hold them, are refused by name and place; the teacher's too.
  @Test(arguments: [Float.nan, .infinity, -.infinity])
  func notFinite(value: Float) throws {
    for name in ["bert.encoder.layer.0.output.dense.weight", "cls.predictions.transform.dense.bias"] {
      for type in [TensorType.float32, .bfloat16, .float64] {
        let file = tensors(where: isOfBERT).map { tensor in
          guard tensor.name == name else { return tensor }
          var floats = [Float](repeating: 0.5, count: tensor.shape.reduce(1, *))
          floats[9] = value
          floats[11] = value
          let bytes: [UInt8] =
            switch type {
            case .bfloat16:
              floats.flatMap { number in
                withUnsafeBytes(of: UInt16(number.bitPattern >> 16).littleEndian) { Array($0) }
              }
            case .float64: floats.map { Double($0) }.withUnsafeBytes { Array($0) }
            default: floats.withUnsafeBytes { Array($0) }
            }
          return Tensor(name: name, type: type, shape: tensor.shape, bytes: bytes)
        }
        let error = #expect(throws: ModelError.self) { try load(file) }
        guard case .notFinite(_, name, 2, _, let first, _) = error else {
          Issue.record("\(String(describing: error))")
          continue
        }
        #expect(first == (name.hasSuffix("bias") ? [9] : [0, 9]))
        checkDescription(error!, mentions: [name, "2 of", "\(first)", "\(value)"])
        if name.hasPrefix("bert.") {
          #expect(throws: ModelError.self) {
            try withFile(file) { _ = try TeacherWeights($0, student: Self.model) }
          }
        }
      }
    }
  }

  /// A sharded model by its index and by its folder, and a folder with one file; then each with something wrong.
  @Test func shardedModel() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "bipft-shards-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    func path(_ name: String) -> String { folder.appending(path: name).path }
    let all = tensors(where: isOfBERT)
    let parts = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    func part(_ tensor: Tensor) -> Int { tensor.name.contains("layer.1.") ? 1 : 0 }
    for number in 0...1 {
      try writeSafetensors(path: path(parts[number]), tensors: all.filter { part($0) == number })
    }
    func writeIndex(_ more: [String: String] = [:]) throws {
      var map: [String: String] = more
      for tensor in all { map[tensor.name] = parts[part(tensor)] }
      let index: [String: Any] = ["metadata": ["total_size": 1], "weight_map": map]
      try JSONSerialization.data(withJSONObject: index).write(
        to: folder.appending(path: "model.safetensors.index.json"))
    }
    try writeIndex()
    let (whole, _) = try load(all)
    let buffer = FloatBuffer(count: Self.layout.elementCount)
    for given in [path("model.safetensors.index.json"), folder.path, folder.path + "/"] {
      buffer.view.fill(-1)
      _ = try Initialisation.load(PretrainedWeights(path: given), into: buffer.view, layout: Self.model)
      #expect(buffer.view.array == whole)
      let hasHead = try TeacherWeights(PretrainedWeights(path: given), student: Self.model)
        .hasHead
      #expect(hasHead)
      let names = try WeightFiles(path: given).all.map { ($0 as NSString).lastPathComponent }
      #expect(names == ["model.safetensors.index.json"] + parts)
    }
    func expectNoWeights(_ given: String, _ mentions: [String]) {
      let error = #expect(throws: ModelError.self) { try PretrainedWeights(path: given) }
      let text = error?.description ?? ""
      #expect(!text.contains("\n") && mentions.allSatisfy { text.contains($0) }, "\(text)")
    }
    try writeIndex(["bert.gone": parts[1]])
    expectNoWeights(folder.path, [parts[1], "no tensor bert.gone", "index.json"])
    try writeIndex(["x": "../x.safetensors"])
    expectNoWeights(folder.path, ["../x.safetensors"])
    try writeIndex()
    try FileManager.default.removeItem(atPath: path(parts[1]))
    expectNoWeights(folder.path, [parts[1], "No such file"])
    try Data("{}".utf8).write(to: folder.appending(path: "model.safetensors.index.json"))
    expectNoWeights(folder.path, ["weight_map"])
    try FileManager.default.removeItem(atPath: path("model.safetensors.index.json"))
    expectNoWeights(folder.path, ["neither model.safetensors nor model.safetensors.index.json"])
    for (start, what) in [
      ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
      ("PK\u{3}\u{4}0000000000", "PyTorch"),
    ] {
      try Data(start.utf8).write(to: folder.appending(path: "model.safetensors"))
      expectNoWeights(path("model.safetensors"), [what])
    }
    try writeSafetensors(path: path("model.safetensors"), tensors: all)
    buffer.view.fill(-1)
    _ = try Initialisation.load(PretrainedWeights(path: folder.path), into: buffer.view, layout: Self.model)
    #expect(buffer.view.array == whole)
  }

  @Test func wrongShapes() {
    expectShapeError("bert.embeddings.word_embeddings.weight", [31, 15], [30, 16])
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
    guard case .missing(_, ["bert.encoder.layer.0.attention.self.query.weight"]) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    checkDescription(error!, mentions: ["Hugging Face"])
  }

  @Test func noFile() {
    let error = #expect(throws: ModelError.self) { try PretrainedWeights(path: "/nowhere/model.safetensors") }
    guard case .notWeights = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    checkDescription(
      error!, mentions: ["/nowhere/model.safetensors", "No such file or directory", "initial_weights"])
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
    guard case .missing(_, [name]) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    checkDescription(error!, mentions: [name])
  }
}
