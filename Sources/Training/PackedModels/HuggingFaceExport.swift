import BinaryModel
import DurableFiles
import FileFormats

/// A checkpoint as a folder that Hugging Face's transformers and the code of BiPFT's authors load: `bipft export --format
/// huggingface`. The weights are the latent ones of float32, under the names that they share (docs/METHOD.md).
public struct HuggingFaceExport: Sendable {
  let source: String
  let choice: ModelChoice
  let output: String
  let vocabulary: String?

  /// - Parameters:
  ///   - source: a run or a checkpoint.
  ///   - choice: which of the run's checkpoints.
  ///   - output: a folder that is not there yet, or empty.
  ///   - vocabulary: the run's, if its corpus is not where its configuration says.
  public init(source: String, choice: ModelChoice, output: String, vocabulary: String?) {
    self.source = source
    self.choice = choice
    self.output = output
    self.vocabulary = vocabulary
  }

  /// What was exported.
  public struct Result: Sendable {
    public let checkpoint: String
    public let step: Int
    /// The class of transformers that the folder is for.
    public let architecture: String
  }

  /// Writes the folder, `config.json` last.
  ///
  /// - Parameter report: receives a line for each checkpoint that is skipped since it is damaged.
  /// - Throws: errors of checkpoints, corpora, weights and files; `TrainingError.unreadable` for a folder that holds
  ///   something.
  /// - Cost: reads and hashes the checkpoint; memory for its weights.
  public func run(report: (String) -> Void) throws -> Result {
    if isFolder(output), try !folderContents(output).isEmpty {
      throw TrainingError.unreadable(
        path: output, reason: "is a folder that holds something; name one that is not there yet")
    }
    let source = try ExportSource(source, choice, vocabulary: vocabulary, report: report)
    try source.checkExportable()
    let own = source.configuration.model
    if source.model.hasLevels {
      throw TrainingError.unreadable(
        path: source.folder,
        reason: "has model.activation_bits \(own.activationBits) and model.ffn_activation "
          + "\(own.feedForwardActivation.rawValue), which the code that reads such a folder does not know; export it with "
          + "--format packed")
    }
    let head = try PackedModelWriter.heads(of: PretrainedWeights(path: source.weightsPath))[0]
    let task = head == .classifier ? try source.task() : nil
    if task != nil, source.configuration.task.pooling != .first {
      throw TrainingError.unreadable(
        path: source.weightsPath,
        reason:
          "has a classifier on the mean of the hidden states (task.pooling), and transformers' BERT one on its pooled "
          + "output; only --format packed can hold it")
    }
    _ = try createFolders(output)
    // The checkpoint's file has the names, and the metadata that transformers asks for.
    try replaceFile(output + "/model.safetensors", with: readFile(source.weightsPath))
    try replaceFile(output + "/vocab.txt", with: source.vocabulary.lines)
    let length = "\(source.model.maximumLength)"
    try replaceFile(
      output + "/tokenizer_config.json",
      with: Self.text([
        ("tokenizer_class", JSONText.quoted("BertTokenizer")), ("do_lower_case", "true"),
        ("model_max_length", length), ("unk_token", JSONText.quoted("[UNK]")),
        ("sep_token", JSONText.quoted("[SEP]")), ("pad_token", JSONText.quoted("[PAD]")),
        ("cls_token", JSONText.quoted("[CLS]")), ("mask_token", JSONText.quoted("[MASK]")),
      ]))
    let architecture =
      switch head {
      case .words: "BertForPreTraining"
      case .classifier: "BertForSequenceClassification"
      case .none: "BertModel"
      }
    try replaceFile(
      output + "/config.json",
      with: Self.text(Self.configuration(source, architecture) + Self.labels(task?.labels)))
    return Result(checkpoint: source.folder, step: source.state.step, architecture: architecture)
  }

  private static func configuration(
    _ source: ExportSource, _ architecture: String
  ) -> [(name: String, value: String)] {
    let (c, dropout) = (source.model, JSONText.number(source.configuration.model.dropout))
    return [
      ("architectures", JSONText.array([JSONText.quoted(architecture)])),
      ("model_type", JSONText.quoted("bert")), ("vocab_size", "\(c.vocabularySize)"),
      ("hidden_size", "\(c.hiddenSize)"), ("num_hidden_layers", "\(c.layers)"),
      ("num_attention_heads", "\(c.heads)"), ("intermediate_size", "\(c.intermediateSize)"),
      ("hidden_act", JSONText.quoted("gelu")), ("hidden_dropout_prob", dropout),
      ("attention_probs_dropout_prob", dropout), ("max_position_embeddings", "\(c.maximumLength)"),
      ("type_vocab_size", "2"), ("initializer_range", JSONText.number(Initialisation.deviation)),
      ("layer_norm_eps", "1e-12"), ("pad_token_id", "\(source.vocabulary.padding)"),
      ("tie_word_embeddings", "true"), ("torch_dtype", JSONText.quoted("float32")),
    ]
  }

  /// Names of the classes; of a number that it is one.
  private static func labels(_ labels: [String]?) -> [(name: String, value: String)] {
    guard let labels else { return [] }
    let names = labels.isEmpty ? ["LABEL_0"] : labels
    let numbers = names.enumerated()
    return [
      ("id2label", JSONText.object(numbers.map { ("\($0.offset)", JSONText.quoted($0.element)) })),
      ("label2id", JSONText.object(numbers.map { ($0.element, "\($0.offset)") })),
      (
        "problem_type", JSONText.quoted(labels.isEmpty ? "regression" : "single_label_classification")
      ),
    ]
  }

  /// One object, a member a line.
  private static func text(_ members: [(name: String, value: String)]) -> [UInt8] {
    let lines = members.map { "  \(JSONText.quoted($0.name)): \($0.value)" }
    return Array("{\n\(lines.joined(separator: ",\n"))\n}\n".utf8)
  }
}
