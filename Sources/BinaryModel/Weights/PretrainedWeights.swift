import TensorFiles

/// A BERT's weights in safetensors: Hugging Face names, with or without the `bert.` prefix, layer normalisations as
/// `weight`/`bias` or as `gamma`/`beta`. The word embedding is the decoder's matrix too; one of its own is not read.
public struct PretrainedWeights: Sendable {
  /// As it was given.
  public let path: String
  private let files: [SafetensorsFile]
  /// The number of the file that holds each tensor.
  private let places: [String: Int]

  /// Opens a safetensors file, the index of a sharded model (`model.safetensors.index.json`) with the files that it names,
  /// or a folder that holds either; no tensor is read.
  ///
  /// - Throws: `ModelError` for what is none of these, or an index whose files lack what it says they have.
  public init(path: String) throws(ModelError) {
    let source = try WeightFiles(path: path)
    var files: [SafetensorsFile] = []
    var places: [String: Int] = [:]
    for (number, file) in source.shards.enumerated() {
      let opened: SafetensorsFile
      do throws(TensorFileError) {
        opened = try SafetensorsFile(path: file)
      } catch {
        throw WeightFiles.recognise(file).map { .notWeights(path: file, what: $0) } ?? .file(error)
      }
      files.append(opened)
      if source.index == nil { for entry in opened.entries { places[entry.name] = number } }
    }
    for (name, number) in source.tensors {
      guard files[number].find(name) != nil else {
        throw .notWeights(
          path: files[number].path,
          what: "has no tensor \(name), which \(source.index ?? path) says it has; copy the model again")
      }
      places[name] = number
    }
    self.path = path
    self.files = files
    self.places = places
  }

  private func entry(_ name: String) -> (tensor: TensorEntry, file: SafetensorsFile)? {
    guard let number = places[name], let tensor = files[number].find(name) else { return nil }
    return (tensor, files[number])
  }

  /// The tensor for the parameter called `name` (with the `bert.` prefix, as in a `ParameterLayout`), or nil.
  private func locate(_ name: String) -> (tensor: TensorEntry, file: SafetensorsFile)? {
    let short = name.hasPrefix("bert.") ? String(name.dropFirst(5)) : name
    for candidate in [name, short] {
      if let found = entry(candidate) { return found }
      guard candidate.contains("LayerNorm.") else { continue }
      let old =
        candidate.hasSuffix(".weight")
        ? candidate.dropLast("weight".count) + "gamma" : candidate.dropLast("bias".count) + "beta"
      if let found = entry(String(old)) { return found }
    }
    return nil
  }

  /// The entry for the parameter called `name`, or nil.
  func find(_ name: String) -> TensorEntry? { locate(name)?.tensor }

  /// One more than the largest number of a layer in the tensors' names.
  var layerCount: Int {
    places.keys.reduce(0) { count, name in
      let parts = name.split(separator: ".")
      guard let place = parts.firstIndex(of: "layer"), place + 1 < parts.count,
        let number = Int(parts[place + 1]),
        name.contains("encoder.layer."), number >= 0, number < Int.max
      else { return count }
      return max(count, number + 1)
    }
  }

  /// Elements of the parameter `name` of `shape`; nil where the file has none. A table with more rows than wanted gives
  /// the first ones: position embeddings of a longer model, and words of a padded vocabulary (`LongerTable`).
  ///
  /// - Throws: `ModelError` where the file's tensor cannot serve, or what is taken of it is not finite.
  func read(_ name: String, shape: [Int]) throws(ModelError) -> [Float]? {
    guard let (tensor, file) = locate(name) else { return nil }
    if tensor.shape != shape {
      guard let table = LongerTable(name), tensor.shape.dropFirst() == shape.dropFirst(),
        let rows = tensor.shape.first
      else { throw .shape(path: file.path, tensor: tensor.name, found: tensor.shape, wanted: shape) }
      guard table.takes(shape[0], of: rows) else {
        throw .rows(path: file.path, tensor: tensor.name, found: rows, wanted: shape[0], table: table)
      }
    }
    let values: [Float]
    do throws(TensorFileError) {
      values = Array(try file.floats(tensor.name).prefix(shape.reduce(1, *)))
    } catch {
      throw .file(error)
    }
    guard values.allSatisfy(\.isFinite) else {
      let bad = values.indices.filter { !values[$0].isFinite }
      throw .notFinite(
        path: file.path, tensor: tensor.name, count: bad.count, of: values.count,
        first: place(bad[0], in: shape), value: values[bad[0]])
    }
    return values
  }

  /// The indices of the element number `element` of a tensor of `shape`.
  private func place(_ element: Int, in shape: [Int]) -> [Int] {
    var rest = element
    return shape.reversed().map { extent in
      defer { rest /= extent }
      return rest % extent
    }.reversed()
  }

  /// What a user should know of tables that are longer than a model of this shape needs.
  public func notes(for c: ModelConfiguration) -> [String] {
    [
      ("word embeddings", "bert.embeddings.word_embeddings.weight", c.vocabularySize),
      ("positions", "bert.embeddings.position_embeddings.weight", c.maximumLength),
    ].compactMap { what, name, rows in
      guard let found = find(name)?.shape.first, found > rows else { return nil }
      return "the first \(rows) of its \(found) \(what)"
    }
  }
}

/// A table of which a model may take the first rows alone.
public enum LongerTable: Sendable {
  /// Word embeddings and the decoder's bias. A vocabulary is padded to a multiple of up to 1,024; more rows beyond the
  /// corpus's are another vocabulary, whose numbers mean other words.
  case words
  case positions

  init?(_ parameter: String) {
    switch parameter {
    case "bert.embeddings.word_embeddings.weight", "cls.predictions.bias": self = .words
    case "bert.embeddings.position_embeddings.weight": self = .positions
    default: return nil
    }
  }

  func takes(_ wanted: Int, of rows: Int) -> Bool {
    rows >= wanted && (self == .positions || rows - wanted < 1024)
  }
}

/// What can be wrong with the weights a model is given.
public enum ModelError: Error, CustomStringConvertible, Sendable {
  case file(TensorFileError)
  /// Something else than weights; `what` says what, and what to do.
  case notWeights(path: String, what: String)
  case shape(path: String, tensor: String, found: [Int], wanted: [Int])
  /// Too few rows of a table, or too many.
  case rows(path: String, tensor: String, found: Int, wanted: Int, table: LongerTable)
  /// `count` elements are NaN or infinite; the first one, at `first`, is `value`.
  case notFinite(path: String, tensor: String, count: Int, of: Int, first: [Int], value: Float)
  /// Tensors without which there is no BERT, at least one.
  case missing(path: String, tensors: [String])
  case layers(path: String, found: Int, wanted: Int)
  /// An element that has no float16.
  case beyondFloat16(path: String, tensor: String, value: Float)
  /// A layer whose counts of bits do not fit a packed file.
  case tooManyInputs(path: String, layer: String, inputs: Int, limit: Int)

  public var description: String {
    switch self {
    case .file(let error): error.description
    case .notWeights(let path, let what): "\(path): \(what)"
    case .shape(let path, let tensor, let found, let wanted) where tensor.hasPrefix(PooledHead.name + "."):
      "\(path): \(tensor) has shape \(found), the task needs \(wanted): it is the head of another task; start from the "
        + "checkpoint that this one was fine-tuned from"
    case .shape(let path, let tensor, let found, let wanted):
      "\(path): \(tensor) has shape \(found), the configured model needs \(wanted); change model.* in the configuration"
    case .rows(let path, let tensor, let found, let wanted, .positions):
      "\(path): \(tensor) has \(found) rows, the configured model needs \(wanted); set model.maximum_length to \(found) or less"
    case .rows(let path, let tensor, let found, let wanted, .words):
      "\(path): \(tensor) has \(found) rows, the corpus's vocabulary \(wanted) tokens"
        + (found > wanted ? ", more of a difference than padding makes" : "")
        + "; build the corpus with the model's own vocabulary (bipft corpus build --vocab)"
    case .notFinite(let path, let tensor, let count, let all, let first, let value):
      "\(path): \(tensor) is not finite: \(count) of \(all) elements, the first at \(first) (\(value)); take an export "
        + "from before the training diverged, or copy the file again"
    case .missing(let path, let tensors):
      "\(path): no tensor \(Self.list(tensors)); a whole BERT with Hugging Face names is needed (of a sharded model give "
        + "model.safetensors.index.json)"
    case .layers(let path, let found, let wanted):
      "\(path): has \(found) layers, the configured model \(wanted); change model.layers in the configuration"
    case .beyondFloat16(let path, let tensor, let value):
      "\(path): \(tensor) has the value \(value), which is beyond float16; export with --reals float32"
    case .tooManyInputs(let path, let layer, let inputs, let limit):
      "\(path): \(layer) has \(inputs) inputs, a packed model at most \(limit)"
    }
  }

  private static func list(_ names: [String]) -> String {
    let shown = names.prefix(4).joined(separator: ", ")
    return names.count <= 4 ? shown : "\(shown) and \(names.count - 4) more"
  }
}
