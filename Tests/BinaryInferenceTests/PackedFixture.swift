import BinaryInference
import BinaryModel
import FileFormats
import Foundation
import Kernels
import Parameters
import TensorFiles

/// A small trained-like model: random parameters away from their defaults, fitted step sizes, in a safetensors file; and
/// the packed files made of it.
final class PackedFixture {
  let configuration: ModelConfiguration
  let layout: ModelLayout<Pretraining>
  let parameters: FloatBuffer
  let batch: TokenBatch
  private let folder: String

  /// Odd sizes, three heads, one word of bits a row.
  static func small(rank: Int) -> ModelConfiguration {
    ModelConfiguration(
      vocabularySize: 40, hiddenSize: 24, layers: 2, heads: 3, intermediateSize: 40, maximumLength: 12,
      estimatorRank: rank, dropout: 0)
  }

  /// Whole words, more than a word of tokens.
  static func wide(rank: Int) -> ModelConfiguration {
    ModelConfiguration(
      vocabularySize: 203, hiddenSize: 128, layers: 3, heads: 2, intermediateSize: 192, maximumLength: 80,
      estimatorRank: rank, dropout: 0)
  }

  /// One of them with activations of several bits, or a ReLU.
  static func levels(
    _ bits: Int, _ activation: PackedModelFormat.Activation, rank: Int, isWide: Bool = false
  ) -> ModelConfiguration {
    var configuration = isWide ? wide(rank: rank) : small(rank: rank)
    configuration.activationBits = bits
    configuration.feedForwardActivation = activation
    return configuration
  }

  /// - Parameter change: called with each parameter's name and values after the step sizes were fitted.
  init(
    _ c: ModelConfiguration, sequences: Int = 3, seed: UInt64 = 5,
    change: (String, FloatView) -> Void = { _, _ in }
  ) throws {
    configuration = c
    layout = ModelLayout(c, Pretraining())
    parameters = FloatBuffer(count: layout.parameters.elementCount)
    var stream = CounterRandom(seed: seed, purpose: .heldOut).stream(0)
    func draw(_ low: Float, _ high: Float) -> Float { low + (high - low) * stream.unit() }
    for parameter in layout.parameters.parameters {
      for index in parameter.range {
        parameters.view[index] =
          switch parameter.kind {
          case .stepSize: 1
          case .binaryMatrix, .binaryTable: draw(-0.4, 0.5)
          case .real: parameter.name.hasSuffix("LayerNorm.weight") ? draw(0.6, 1.4) : draw(-0.3, 0.3)
          }
      }
    }
    // The first sequence is full, the others are padded.
    let length = c.maximumLength
    var (ids, types, lengths): ([Int32], [Int32], [Int32]) = ([], [], [])
    for sequence in 0..<sequences {
      let real = sequence == 0 ? length : 3 + Int(stream.next(below: UInt32(length - 3)))
      lengths.append(Int32(real))
      for token in 0..<length {
        ids.append(token < real ? Int32(stream.next(below: UInt32(c.vocabularySize))) : 0)
        types.append(token < real && token > real / 2 ? 1 : 0)
      }
    }
    batch = TokenBatch(
      sequences: sequences, length: length, inputIDs: ids, tokenTypeIDs: types, lengths: lengths,
      sampleIDs: (0..<UInt64(sequences)).map { $0 }, epoch: 0)
    PretrainingModel.fit(parameters.view, layout: layout, batch: batch, rule: .published)
    for parameter in layout.parameters.parameters { change(parameter.name, parameters.view[parameter.range]) }
    folder = FileManager.default.temporaryDirectory.path + "/bipft-inference-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try writeSafetensors(
      path: path("model.safetensors"),
      tensors: layout.parameters.parameters.map {
        Tensor(name: $0.name, shape: $0.shape, floats: parameters.view[$0.range].array)
      })
  }

  deinit { try? FileManager.default.removeItem(atPath: folder) }

  func path(_ name: String) -> String { folder + "/" + name }

  /// The real tokens of a sequence, and their segments.
  func sequence(_ index: Int) -> (tokens: [Int32], segments: [Int32]) {
    let own = index * batch.length..<index * batch.length + Int(batch.lengths[index])
    return (Array(batch.inputIDs[own]), Array(batch.tokenTypeIDs[own]))
  }

  var vocabulary: [UInt8] {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    let words = (special.count..<configuration.vocabularySize).map { "word\($0)" }
    return Array((special + words).map { $0 + "\n" }.joined().utf8)
  }

  /// Writes a packed file and gives its path. A classifier tells `labels` apart, of one text; without any it tells a number,
  /// of two.
  func packed(
    head: ModelHead = .words, reals: PackedModelFormat.Reals = .float32,
    labels: [String] = ["no", "yes", "\"?"], pooling: SequencePooling? = nil
  ) throws -> String {
    let target = path("\(head.rawValue)-\(reals.rawValue)-\(labels.count)\(pooling?.rawValue ?? "").bipft")
    let names = labels.map { "\"" + $0.replacing("\"", with: "\\\"") + "\"" }
    var notes = ["sequence_length": "\(configuration.maximumLength - 1)"]
    if head == .classifier {
      notes["labels"] = "[\(names.joined(separator: ", "))]"
      notes["texts"] = labels.isEmpty ? "2" : "1"
      notes["pooling"] = pooling?.rawValue
    }
    _ = try PackedModelWriter.write(
      PretrainedWeights(path: weights(outputs: max(1, labels.count))), configuration, head: head,
      outputs: max(1, labels.count), reals: reals, vocabulary: vocabulary, notes: notes, to: target)
    return target
  }

  /// Writes the weights with those of a classifier of so many outputs, and gives their path.
  func weights(outputs: Int) throws -> String {
    var stream = CounterRandom(seed: 6, purpose: .heldOut).stream(0)
    func drawn(_ shape: [Int]) -> [Float] { (0..<shape.reduce(1, *)).map { _ in 2 * stream.unit() - 1 } }
    let width = configuration.hiddenSize
    let head = [("classifier.weight", [outputs, width]), ("classifier.bias", [outputs])]
    try writeSafetensors(
      path: path("fine-tuned.safetensors"),
      tensors: layout.parameters.parameters.map {
        Tensor(name: $0.name, shape: $0.shape, floats: parameters.view[$0.range].array)
      } + head.map { Tensor(name: $0.0, shape: $0.1, floats: drawn($0.1)) })
    return path("fine-tuned.safetensors")
  }

  /// The bytes of a packed file.
  func bytes(head: ModelHead = .words, reals: PackedModelFormat.Reals = .float32) throws -> [UInt8] {
    Array(try Data(contentsOf: URL(fileURLWithPath: packed(head: head, reals: reals))))
  }

  /// A file of version 1 of the format: biases and shifts of the trained model in place of thresholds.
  func packedVersion1(reals: PackedModelFormat.Reals = .float32) throws -> String {
    var (tensors, metadata) = try tensors(packed(reals: reals))
    tensors.removeAll { $0.name.contains(".threshold") }
    let present = Set(tensors.map(\.name))
    for parameter in layout.parameters.parameters
    where parameter.kind != .binaryMatrix && parameter.kind != .binaryTable
      && parameter.name.hasPrefix("bert.") && !present.contains(parameter.name)
    {
      let values = parameters.view[parameter.range].array
      if reals == .float32 || parameter.kind == .stepSize {
        tensors.insert(Tensor(name: parameter.name, shape: parameter.shape, floats: values), at: 0)
      } else {
        let halves = values.map { Float16($0) }.withUnsafeBytes { Array($0) }
        tensors.append(Tensor(name: parameter.name, type: .float16, shape: parameter.shape, bytes: halves))
      }
    }
    metadata[PackedModelFormat.versionKey] = "1"
    // Each begins at a multiple of what it is read by.
    tensors = [8, 4, 2, 1].flatMap { size in tensors.filter { readSize($0) == size } }
    let target = path("version1-\(reals.rawValue).bipft")
    try writeSafetensors(path: target, tensors: tensors, metadata: metadata)
    return target
  }

  private func readSize(_ tensor: Tensor) -> Int { tensor.name.hasSuffix(".bits") ? 8 : tensor.type.size }

  /// A packed file's tensors in memory, to be changed and written again.
  func tensors(_ path: String) throws -> (tensors: [Tensor], metadata: [String: String]) {
    let file = try SafetensorsFile(path: path)
    return (
      file.entries.map { entry in
        Tensor(
          name: entry.name, type: entry.type, shape: entry.shape,
          bytes: file.withBytes(of: entry) { Array($0) })
      }, file.metadata
    )
  }
}

extension [Float] {
  var bits: [UInt32] { map(\.bitPattern) }

  /// The largest difference to another array of as many.
  func distance(_ other: [Float]) -> Float {
    precondition(count == other.count, "\(count) numbers beside \(other.count)")
    return zip(self, other).reduce(0) { Swift.max($0, abs($1.0 - $1.1)) }
  }
}
