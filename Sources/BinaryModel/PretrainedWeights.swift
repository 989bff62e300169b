import TensorFiles

/// A file of BERT weights: Hugging Face names, with or without the `bert.` prefix, layer normalisations as
/// `weight`/`bias` or as `gamma`/`beta`.
public struct PretrainedWeights: Sendable {
  private let file: SafetensorsFile
  public var path: String { file.path }

  /// Opens the file; no tensor is read.
  public init(path: String) throws(ModelError) {
    do throws(TensorFileError) {
      file = try SafetensorsFile(path: path)
    } catch {
      throw .file(error)
    }
  }

  /// The entry for the parameter called `name` (with the `bert.` prefix, as in a `ParameterLayout`), or nil.
  func find(_ name: String) -> TensorEntry? {
    let short = name.hasPrefix("bert.") ? String(name.dropFirst(5)) : name
    for candidate in [name, short] {
      if let entry = file.find(candidate) { return entry }
      guard candidate.contains("LayerNorm.") else { continue }
      let old =
        candidate.hasSuffix(".weight")
        ? candidate.dropLast("weight".count) + "gamma" : candidate.dropLast("bias".count) + "beta"
      if let entry = file.find(String(old)) { return entry }
    }
    return nil
  }

  /// Elements of the parameter `name` of `shape`; nil where the file has none. A table with more rows than wanted gives
  /// the first ones (position embeddings of a longer model).
  ///
  /// - Throws: `ModelError.shape` where the file's tensor cannot serve.
  func read(_ name: String, shape: [Int]) throws(ModelError) -> [Float]? {
    guard let entry = find(name) else { return nil }
    let isLongerTable =
      name.contains("position_embeddings") && entry.shape.count == 2 && entry.shape[1] == shape.last
      && entry.shape[0] >= shape[0]
    guard entry.shape == shape || isLongerTable else {
      throw .shape(path: path, tensor: entry.name, found: entry.shape, wanted: shape)
    }
    do throws(TensorFileError) {
      return Array(try file.floats(entry.name).prefix(shape.reduce(1, *)))
    } catch {
      throw .file(error)
    }
  }
}

/// What can be wrong with the weights a model is given.
public enum ModelError: Error, CustomStringConvertible, Sendable {
  case file(TensorFileError)
  case shape(path: String, tensor: String, found: [Int], wanted: [Int])
  case missing(path: String, tensor: String)
  case layers(path: String, found: Int, wanted: Int)

  public var description: String {
    switch self {
    case .file(let error): error.description
    case .shape(let path, let tensor, let found, let wanted):
      "\(path): \(tensor) has shape \(found), the configured model needs \(wanted); change model.* in the configuration"
    case .missing(let path, let tensor):
      "\(path): no tensor \(tensor); a BERT with Hugging Face names is needed"
    case .layers(let path, let found, let wanted):
      "\(path): has \(found) layers, the configured model \(wanted); change model.layers in the configuration"
    }
  }
}
