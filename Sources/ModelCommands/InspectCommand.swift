import ArgumentParser
import BinaryInference
import DurableFiles
import FileFormats
import TensorFiles

/// `bipft inspect MODEL`
public struct InspectCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "inspect", abstract: "Show what a packed model holds, and what it costs to use.",
    discussion: """
      Tensors with the shapes that they stand for, bytes by kind, and operations on a sequence. --against bert-base sets bytes \
      and operations beside those of the full-precision BERT-base, as papers on binary networks count them.
      """)

  @Argument(help: ArgumentHelp("A file that bipft export made.", valueName: "model"))
  var path: String

  @Option(
    name: .customLong("tokens"),
    help: ArgumentHelp(
      "Tokens of the sequence whose operations are counted. Default: 128, or the most that the model takes.",
      valueName: "n"))
  var wantedTokens: Int?

  @Option(help: "What to compare with: bert-base.")
  var against: Rival?

  public init() {}

  public func run() throws {
    let (model, file): (BinaryModel, SafetensorsFile)
    do {
      model = try BinaryModel(path: path)
      file = try SafetensorsFile(path: path)
    } catch let error as BinaryModelError {
      throw ModelUse.ending("\(path): \(error)")
    } catch {
      throw ModelUse.ending("\(error)")
    }
    let tokens = wantedTokens ?? min(128, model.shape.maximumLength)
    guard tokens >= 1, tokens <= model.shape.maximumLength else {
      throw ModelUse.ending("--tokens \(tokens): the model takes 1 to \(model.shape.maximumLength)")
    }
    let s = model.shape
    print(
      """
      \(s.layers) layers, hidden \(s.hiddenSize), \(s.heads) heads, intermediate \(s.intermediateSize), \
      vocabulary \(s.vocabularySize), at most \(s.maximumLength) tokens, estimators of rank \(s.estimatorRank)
      activations of \(s.activationBits) bit\(s.activationBits == 1 ? "" : "s"), feed-forward \
      \(s.feedForwardActivation.rawValue)
      head: \(model.head.rawValue)\(labels(model))
      """)
    var bytes: [String: Int] = [:]
    for entry in file.entries {
      let (name, kind, shape) = describe(entry, file.metadata)
      bytes[kind, default: 0] += entry.range.count
      print("\(name)  \(kind) [\(shape)]  \(entry.range.count) bytes")
    }
    let header = (file.entries.map(\.range.lowerBound).min() ?? 0)
    let size = bytes.values.reduce(header, +)
    let total = bytes.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
    print("bytes: \(total), header \(header); file \(size)")
    let operations = OperationCount(s, tokens: tokens)
    show(operations, s, tokens: tokens, isWordHead: model.head == .words)
    print("work space of \(tokens) tokens: \(model.workSpaceBytes(tokens: tokens)) bytes")
    if let against { show(operations, tokens: tokens, bytes: size, against: against) }
  }

  private func labels(_ model: BinaryModel) -> String {
    guard model.head == .classifier else { return "" }
    return model.labels.isEmpty
      ? " (a number)" : " (\(model.labels.map(JSONText.quoted).joined(separator: ", ")))"
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

  private func show(_ count: OperationCount, _ s: ModelShape, tokens: Int, isWordHead: Bool) {
    print(
      "operations on \(tokens) tokens: binary \(count.binary) (linear \(count.linear), attention \(count.attention))"
    )
    print("  in float32, without norms and activations: \(count.estimators) (estimators)")
    if isWordHead {
      print(
        "  in float32 for each masked word: \(2 * s.hiddenSize * (s.hiddenSize + s.vocabularySize)) (head)")
    }
  }

  private func show(_ count: OperationCount, tokens: Int, bytes: Int, against rival: Rival) {
    let full = rival.operations(tokens: tokens)
    let own = Double(count.binary) / 64 + Double(count.estimators)
    func tenths(_ value: Double) -> String { "\((value * 10).rounded() / 10)" }
    func millions(_ value: Double) -> String { "\(tenths(value / 1e6)) million" }
    print(
      """
      against \(rival.rawValue) in float32, \(tokens) tokens:
        operations as papers count them (Liu et al. 2018, Bi-Real Net): binary / 64 + float; norms, softmax, activations and \
      what is on top of the encoder count on neither side
        \(rival.rawValue): \(millions(Double(full.binary))) float
        this model: \(count.binary) / 64 + \(count.estimators) = \(millions(own)), \(tenths(Double(full.binary) / own)) times \
      fewer (BiPFT's paper claims 56)
        bytes: \(rival.bytes) of weights, this file \(bytes), \(tenths(Double(rival.bytes) / Double(bytes))) times fewer \
      (BiPFT's paper claims 28)
      """)
  }
}

/// What an encoder multiplies and adds on one sequence; a multiplication with its addition counts as two operations, on bits
/// as on floats. An activation of n bits counts as n of them: n products with a weight, n² with each other.
struct OperationCount {
  /// 2·n·T·L·(4·H² + 2·H·F) of the linear layers, 4·n²·T²·H·L of attention.
  let linear: Int
  let attention: Int
  /// Of the residual estimators: 2·L·(T·H·(4·r + 1) + 2·r·T²).
  let estimators: Int

  var binary: Int { linear + attention }

  init(_ s: ModelShape, tokens: Int) {
    self.init(
      tokens: tokens, layers: s.layers, hidden: s.hiddenSize, intermediate: s.intermediateSize,
      rank: s.estimatorRank, bits: s.activationBits)
  }

  init(tokens t: Int, layers: Int, hidden h: Int, intermediate: Int, rank r: Int, bits n: Int = 1) {
    linear = 2 * n * t * layers * (4 * h * h + 2 * h * intermediate)
    attention = 4 * n * n * t * t * h * layers
    estimators = r == 0 ? 0 : 2 * layers * (t * h * (4 * r + 1) + 2 * r * t * t)
  }
}

/// A model that packed ones are compared with.
enum Rival: String, CaseIterable, ExpressibleByArgument {
  case bertBase = "bert-base"

  /// All of them in float.
  func operations(tokens: Int) -> OperationCount {
    OperationCount(tokens: tokens, layers: 12, hidden: 768, intermediate: 3072, rank: 0)
  }

  /// Weights of the encoder, embeddings and pooler in float32: 109,482,240 of them (bert-base-uncased, Devlin et al. 2019).
  var bytes: Int {
    let (h, f, layers, words, positions) = (768, 3072, 12, 30_522, 512)
    let layer = 4 * (h * h + h) + (2 * h * f + f + h) + 4 * h
    return 4 * (h * (words + positions + 2) + 2 * h + layers * layer + h * h + h)
  }
}
