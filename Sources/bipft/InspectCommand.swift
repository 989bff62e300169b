import ArgumentParser
import BinaryInference
import FileFormats
import Foundation
import TensorFiles

/// `bipft inspect MODEL`
struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect", abstract: "Show what a packed model holds, and what it costs to use.",
    discussion: "Tensors with the shapes that they stand for, bytes by kind, and operations on a sequence.")

  @Argument(help: ArgumentHelp("A file that bipft export made.", valueName: "model"))
  var path: String

  @Option(help: "Tokens of the sequence whose operations are counted.")
  var tokens = 128

  func run() throws {
    let (model, file): (BinaryModel, SafetensorsFile)
    do {
      model = try BinaryModel(path: path)
      file = try SafetensorsFile(path: path)
    } catch let error as BinaryModelError {
      throw ModelUse.ending("\(path): \(error)")
    } catch {
      throw ModelUse.ending("\(error)")
    }
    guard tokens >= 1, tokens <= model.shape.maximumLength else {
      throw ModelUse.ending("--tokens \(tokens): the model takes 1 to \(model.shape.maximumLength)")
    }
    let s = model.shape
    print(
      """
      \(s.layers) layers, hidden \(s.hiddenSize), \(s.heads) heads, intermediate \(s.intermediateSize), \
      vocabulary \(s.vocabularySize), at most \(s.maximumLength) tokens, estimators of rank \(s.estimatorRank)
      head: \(model.head.rawValue)
      """)
    var bytes: [String: Int] = [:]
    for entry in file.entries {
      let (name, kind, shape) = describe(entry, file.metadata)
      bytes[kind, default: 0] += entry.range.count
      print("\(name)  \(kind) [\(shape)]  \(entry.range.count) bytes")
    }
    let header = (file.entries.map(\.range.lowerBound).min() ?? 0)
    let total = bytes.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
    print("bytes: \(total), header \(header); file \((bytes.values.reduce(header, +)))")
    show(s, isWordHead: model.head == .words)
    print("work space of \(tokens) tokens: \(model.workSpaceBytes(tokens: tokens)) bytes")
  }

  /// Name, kind and logical shape of a tensor.
  private func describe(_ entry: TensorEntry, _ metadata: [String: String]) -> (String, String, String) {
    let suffix = PackedModelFormat.bits("")
    if entry.name.hasSuffix(suffix) {
      let name = String(entry.name.dropLast(suffix.count))
      if let shape = metadata[PackedModelFormat.shapeKey(name)] { return (name, "bits", shape) }
    }
    let kind = entry.name == PackedModelFormat.vocabulary ? "text" : entry.type.rawValue
    return (entry.name, kind, entry.shape.map(String.init).joined(separator: ","))
  }

  /// A multiplication with its addition counts as two operations, on bits as on floats.
  private func show(_ s: ModelShape, isWordHead: Bool) {
    let (t, h, r) = (tokens, s.hiddenSize, s.estimatorRank)
    let linear = 2 * t * s.layers * (4 * h * h + 2 * h * s.intermediateSize)
    let attention = 4 * t * t * h * s.layers
    let estimators = r == 0 ? 0 : 2 * s.layers * (t * h * (4 * r + 1) + 2 * r * t * t)
    print(
      "operations on \(t) tokens: binary \(linear + attention) (linear \(linear), attention \(attention))")
    print("  in float32, without norms and activations: \(estimators) (estimators)")
    if isWordHead {
      print("  in float32 for each masked word: \(2 * h * (h + s.vocabularySize)) (head)")
    }
  }
}
