import DurableFiles
import RunSettings

/// A full-precision BERT as Hugging Face's programs write one: `config.json`, `vocab.txt` and the weights in one folder.
struct BERTFolder {
  /// The weights, as `initial_weights` takes them.
  let weights: String
  /// Keys of the configuration that tell the shape of the model.
  let settings: [(key: String, value: String)]
  let vocabulary: String

  /// What `config.json` says, as far as it matters. What may be left out has BERT's value then.
  private struct Description: Decodable {
    let modelType: String?
    let hiddenSize: Int
    let numHiddenLayers: Int
    let numAttentionHeads: Int
    let intermediateSize: Int
    let maxPositionEmbeddings: Int
    let typeVocabSize: Int?
    let hiddenAct: String?
    let layerNormEps: Double?
    let positionEmbeddingType: String?

    /// What of it is not as in the BERT that this program has, in words; nil if nothing is.
    var difference: String? {
      let facts = [
        ("model_type", modelType ?? "bert", "bert"), ("hidden_act", hiddenAct ?? "gelu", "gelu"),
        ("position_embedding_type", positionEmbeddingType ?? "absolute", "absolute"),
        ("type_vocab_size", "\(typeVocabSize ?? 2)", "2"),
        ("layer_norm_eps", "\(layerNormEps ?? 1e-12)", "\(1e-12)"),
      ]
      return facts.first { $0.1 != $0.2 }.map { "\($0.0) is \($0.1), which is read as \($0.2) alone" }
    }
  }

  /// Whether `name` is a file of weights, or a folder that describes a BERT.
  static func isNamed(by name: String) -> Bool {
    name.hasSuffix(".safetensors") || name.hasSuffix(".safetensors.index.json")
      || fileExists(name + "/config.json")
  }

  /// - Parameter name: the folder, or the file of the weights in it.
  /// - Throws: `TrainingError` where there is no `config.json`, or it describes another network.
  init(_ name: String) throws(TrainingError) {
    let folder = fileExists(name + "/config.json") ? name : parentFolder(of: name)
    let path = folder + "/config.json"
    func fault(_ reason: String) -> TrainingError { .unreadable(path: path, reason: reason) }
    let bytes: [UInt8]
    do throws(FileError) { bytes = try readFile(path) } catch {
      throw fault(
        "\(error.reason); it tells the shape of the model, of which the weights lack the number of heads")
    }
    let description: Description
    do throws(JSONFault) { description = try decodeJSON(Description.self, bytes) } catch {
      throw fault("\(error.reason); give the config.json of a BERT")
    }
    if let difference = description.difference { throw fault("\(difference); give a BERT") }
    weights = name
    vocabulary = folder + "/vocab.txt"
    settings = [
      ("model.hidden_size", "\(description.hiddenSize)"), ("model.layers", "\(description.numHiddenLayers)"),
      ("model.heads", "\(description.numAttentionHeads)"),
      ("model.intermediate_size", "\(description.intermediateSize)"),
      ("model.maximum_length", "\(description.maxPositionEmbeddings)"),
    ]
  }
}
