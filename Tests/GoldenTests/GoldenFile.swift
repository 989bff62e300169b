import BinaryModel
import Foundation
import Kernels
import Parameters
import TensorFiles

/// One golden case: NAME.json and NAME.safetensors, made by the PyTorch reference.
struct GoldenFile: CustomStringConvertible {
  let name: String
  let description: String
  let settings: GoldenSettings
  let tensors: SafetensorsFile

  init(folder: URL, name: String) throws {
    self.name = name
    description = name
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    settings = try decoder.decode(
      GoldenSettings.self, from: Data(contentsOf: folder.appending(path: name + ".json")))
    tensors = try SafetensorsFile(path: folder.appending(path: name + ".safetensors").path)
  }

  /// The cases of the folder that `BIPFT_GOLDEN_DIR` names, else of this package's copy.
  static let all: [GoldenFile] = {
    let folder: URL
    if let path = ProcessInfo.processInfo.environment["BIPFT_GOLDEN_DIR"], !path.isEmpty {
      folder = URL(fileURLWithPath: path)
    } else {
      folder = Bundle.module.bundleURL.appending(path: "Golden")
    }
    do {
      let files = try FileManager.default.contentsOfDirectory(atPath: folder.path)
      let names = files.filter { $0.hasSuffix(".safetensors") }.map { String($0.dropLast(12)) }.sorted()
      precondition(!names.isEmpty, "no golden file in \(folder.path)")
      return try names.map { try GoldenFile(folder: folder, name: $0) }
    } catch {
      preconditionFailure("golden files of \(folder.path): \(error)")
    }
  }()

  var model: ModelLayout<Pretraining> {
    let c = settings.config
    return ModelLayout(
      ModelConfiguration(
        vocabularySize: c.vocabSize, hiddenSize: c.hiddenSize, layers: c.numHiddenLayers,
        heads: c.numAttentionHeads, intermediateSize: c.intermediateSize,
        maximumLength: c.maxPositionEmbeddings, estimatorRank: c.estimatorRank, dropout: 0,
        activationBits: c.activationBits ?? 1,
        feedForwardActivation: c.ffnActivation.map { FeedForwardActivation(rawValue: $0)! } ?? .gelu),
      Pretraining())
  }

  /// Copies `prefix`NAME of every parameter into a flat buffer.
  func load(_ prefix: String, into buffer: FloatView, layout: ParameterLayout) throws {
    for parameter in layout.parameters {
      let values = try tensors.floats(prefix + parameter.name)
      precondition(values.count == parameter.count, "\(name): \(prefix)\(parameter.name)")
      for (i, value) in values.enumerated() { buffer[parameter.offset + i] = value }
    }
  }

  func batch() throws -> PretrainingBatch {
    let ids = try tensors.int64s("batch/input_ids").map(Int32.init)
    let mask = try tensors.int64s("batch/attention_mask")
    let (b, t) = (settings.batch, settings.length)
    return PretrainingBatch(
      sequences: b, length: t, inputIDs: ids,
      tokenTypeIDs: try tensors.int64s("batch/token_type_ids").map(Int32.init),
      lengths: (0..<b).map { row in Int32(mask[row * t..<(row + 1) * t].reduce(0, +)) },
      labels: try tensors.int64s("batch/labels").map(Int32.init),
      nextSentenceLabels: try tensors.int64s("batch/next_sentence_label").map(Int32.init),
      sampleIDs: (0..<UInt64(b)).map { $0 }, epoch: 0)
  }

  /// What the reference's teacher made of the batch, or nil.
  func teacherOutput(_ buffers: inout [FloatBufferBox]) throws -> TeacherOutput? {
    guard tensors.find("teacher_nsp_logits") != nil else { return nil }
    var hidden: [FloatView] = []
    for index in 0...settings.config.numHiddenLayers {
      let box = FloatBufferBox(try tensors.floats("teacher_hidden/\(index)"))
      buffers.append(box)
      hidden.append(box.buffer.view)
    }
    let logits = FloatBufferBox(try tensors.floats("teacher_nsp_logits"))
    buffers.append(logits)
    return TeacherOutput(hidden: hidden, logits: logits.buffer.view)
  }
}

/// Keeps a buffer alive in an array.
final class FloatBufferBox {
  let buffer: FloatBuffer
  init(_ values: [Float]) {
    buffer = FloatBuffer(count: values.count)
    for (i, value) in values.enumerated() { buffer.view[i] = value }
  }
}

/// The JSON beside the tensors; names as PyTorch's configuration has them.
struct GoldenSettings: Decodable {
  struct Config: Decodable {
    let vocabSize, hiddenSize, numHiddenLayers, numAttentionHeads, intermediateSize: Int
    let maxPositionEmbeddings, estimatorRank: Int
    /// nil in files from before there was a choice.
    let activationBits: Int?
    let ffnActivation: String?
  }
  struct Adam: Decodable {
    let lr: Float
    let weightDecay: Float
    /// Patterns `*text*` of the names that do not decay.
    let noDecay: [String]

    func decays(_ name: String) -> Bool {
      !noDecay.contains { name.contains($0.replacing("*", with: "")) }
    }
  }
  let config: Config
  let batch: Int
  let length: Int
  let gradientNorm: Double
  let losses: [String: Double]
  let adamw: Adam
}
