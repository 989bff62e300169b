import BinaryModel
import Coordinator
import Corpora
import DurableFiles
import RunSettings

/// What a run of fine-tuning starts from: weights, the configuration that they come with, and their vocabulary.
struct FinetuneStart {
  /// The name of no weights: random ones.
  static let scratch = "scratch"

  /// As `initial_weights` names them; nil for random ones.
  let weights: String?
  /// Of weights that come of no run of ours, nothing of it counts but the model.
  let configuration: RunConfiguration
  /// The file of the vocabulary.
  let vocabulary: String

  /// - Parameters:
  ///   - name: a checkpoint of ours or a run, whose newest whole one it is; a full-precision BERT (`BERTFolder`); or `scratch`.
  ///   - given: where the vocabulary is not told, it is that of the run, or lies beside the BERT; from scratch the model's
  ///     shape is told too.
  /// - Throws: `TrainingError` for what cannot be read or does not fit together.
  init(_ name: String, _ given: GivenKeys) throws(TrainingError) {
    let vocabulary = given.value("task.vocabulary", \.task.vocabulary)
    if name == Self.scratch {
      guard let vocabulary else {
        throw .incompleteTask("--from scratch: no vocabulary; name the file with --vocab")
      }
      self.init(
        weights: nil, configuration: try Self.configuration(Self.shape(given)), vocabulary: vocabulary)
    } else if BERTFolder.isNamed(by: name) {
      let folder = try BERTFolder(name)
      self.init(
        weights: folder.weights, configuration: try Self.configuration(folder.settings),
        vocabulary: vocabulary ?? folder.vocabulary)
    } else {
      try self.init(checkpoint: name, vocabulary: vocabulary)
    }
  }

  private init(weights: String?, configuration: RunConfiguration, vocabulary: String) {
    self.weights = weights
    self.configuration = configuration
    self.vocabulary = vocabulary
  }

  private init(checkpoint name: String, vocabulary: String?) throws(TrainingError) {
    let path = try Self.path(name)
    weights = path + "/model.safetensors"
    let checkpoint = try inModule { () throws(CheckpointError) in try Checkpoint(path: path) }
    configuration = try inModule { () throws(ConfigurationError) in
      try RunConfiguration.parse(
        checkpoint.state.configurationText, file: path + "/state.json", isStored: true)
    }
    self.vocabulary = vocabulary ?? configuration.task.vocabulary ?? configuration.data.corpus + "/vocab.txt"
    if vocabulary == nil, !fileExists(self.vocabulary) {
      throw .incompleteTask(
        "\(self.vocabulary): not there, and the checkpoint \(path) needs its vocabulary; name it with --vocab"
      )
    }
    try check(checkpoint, path)
  }

  /// The shape of a model as it is given.
  private static func shape(_ given: GivenKeys) throws(TrainingError) -> [(key: String, value: String)] {
    let shape = [
      ("model.hidden_size", given.value("model.hidden_size", \.model.hiddenSize)),
      ("model.layers", given.value("model.layers", \.model.layers)),
      ("model.heads", given.value("model.heads", \.model.heads)),
      ("model.intermediate_size", given.value("model.intermediate_size", \.model.intermediateSize)),
      ("model.maximum_length", given.value("model.maximum_length", \.model.maximumLength)),
    ]
    let missing = shape.filter { $0.1 == nil }.map(\.0)
    if !missing.isEmpty {
      throw .incompleteTask(
        "--from scratch: no \(missing.joined(separator: ", ")); give them with --set or in the file of --config"
      )
    }
    return shape.map { (key: $0.0, value: "\($0.1!)") }
  }

  /// A configuration of a model of that shape, BiPFT-B, with something in all keys that fine-tuning has a recipe for.
  private static func configuration(
    _ shape: [(key: String, value: String)]
  ) throws(TrainingError) -> RunConfiguration {
    let values =
      shape + [
        ("seed", "1"), ("model.estimator_rank", "1"), ("model.dropout", "0.1"),
        ("model.step_size_fit", "least_squares"), ("data.corpus", "none"),
        ("data.sequence_length", "5"), ("training.steps", "0"), ("training.global_batch", "1"),
        ("training.micro_batch", "1"), ("training.learning_rate", "1"), ("training.warmup_steps", "0"),
        ("training.weight_decay", "0"), ("training.gradient_clip", "0"), ("evaluation.every", "1"),
        ("evaluation.sequences", "1"), ("checkpoint.every", "1"), ("checkpoint.keep", "1"),
      ]
    return try inModule { () throws(ConfigurationError) in
      try RunConfiguration.parse(
        "{}", file: "bipft finetune", overrides: values.map { "\($0.key)=\($0.value)" })
    }
  }

  private func check(_ checkpoint: Checkpoint, _ path: String) throws(TrainingError) {
    let found = try inModule { () throws(CorpusError) in try Vocabulary(path: vocabulary) }
    let wanted = checkpoint.state.identity.vocabulary
    guard found.digest == wanted else {
      throw .incompleteTask(
        "\(vocabulary): another vocabulary than that of the checkpoint \(path) (SHA-256 \(found.digest.prefix(12))…, not "
          + "\(wanted.prefix(12))…); name the right one with --vocab")
    }
  }

  private static func path(_ name: String) throws(TrainingError) -> String {
    func missing(_ problem: String) -> TrainingError {
      .incompleteTask(
        "--from \(name): \(problem); give the folder of a run, or of a checkpoint as RUN/checkpoints/step-00000100"
      )
    }
    do throws(CheckpointError) {
      switch try CheckpointStore.resolve(name, run: ".") {
      case .checkpoint(let path): return path
      case .store(let store):
        if let item = try store.newestValid(report: { _ in }) { return item.path }
      }
    } catch {
      if case .noCheckpoint(_, let problem) = error { throw missing(problem) }
      throw .module(error)
    }
    throw missing("the run holds no checkpoint yet")
  }
}
