import BinaryModel
import Coordinator
import Corpora
import DurableFiles
import FileFormats
import RunSettings
import Tasks

/// A checkpoint that is to be exported, verified, with what its run knows of it.
struct ExportSource {
  let folder: String
  let state: CheckpointState
  let model: ModelConfiguration
  let configuration: RunConfiguration
  let vocabulary: Vocabulary

  /// - Parameters:
  ///   - source: the folder of a run or of a checkpoint.
  ///   - choice: which of the run's checkpoints.
  ///   - vocabulary: the run's, if that is not where its configuration says.
  ///   - report: receives a line for each checkpoint that is skipped since it is damaged.
  /// - Throws: errors of checkpoints, configurations and corpora; `TrainingError.unreadable` for a vocabulary that is not
  ///   the run's.
  /// - Cost: reads and hashes the checkpoint.
  init(
    _ source: String, _ choice: ModelChoice, vocabulary: String?, report: (String) -> Void
  ) throws {
    folder = try choice.checkpoint(source, report: report)
    state = try Checkpoint(path: folder).state
    let path = folder + "/state.json"
    guard var model = ModelConfiguration(sizes: state.model) else {
      throw TrainingError.unreadable(path: path, reason: "does not tell the sizes of a model")
    }
    configuration = try RunConfiguration.parse(state.configurationText, file: path, isStored: true)
    // What no size tells.
    model.activationBits = configuration.model.activationBits
    model.feedForwardActivation = configuration.model.feedForwardActivation
    self.model = model
    self.vocabulary = try Self.vocabulary(vocabulary, configuration, state)
    guard self.vocabulary.count == model.vocabularySize else {
      throw TrainingError.unreadable(
        path: path,
        reason: "the model has \(model.vocabularySize) tokens, its vocabulary \(self.vocabulary.count)")
    }
  }

  /// The latent weights.
  var weightsPath: String { folder + "/model.safetensors" }

  /// - Throws: `TrainingError.unreadable` for a model that no format of ours for use has room for.
  func checkExportable() throws(TrainingError) {
    if configuration.estimators.perHead {
      throw .unreadable(
        path: folder,
        reason:
          "has residual estimators of each head's own (estimators.per_head), which exported models cannot hold; train with "
          + "estimators.per_head false")
    }
  }

  /// The names of the classes that a fine-tuned model tells apart, none where it tells a number; and how many texts it reads.
  ///
  /// - Throws: `TrainingError` where the checkpoint is not in the folder of its run, which has `task.json`.
  func task() throws(TrainingError) -> (labels: [String], texts: Int) {
    let record = try TaskRecord(run: folder + "/../..")
    let definition = try configuration.task.definition(objective: configuration.objective)
    return (record.classes, definition.texts.count)
  }

  /// The configuration without the folders of the machine that trained.
  var portableConfiguration: String {
    let own = [
      "data.corpus=\(JSONText.quoted(lastName(of: configuration.data.corpus)))", "initial_weights=null",
      "teacher=null", "task.vocabulary=null", "task.teacher=null",
    ]
    let portable = try? RunConfiguration.parse(
      configuration.canonicalText, file: "configuration", overrides: own)
    return (portable ?? configuration).canonicalText
  }

  /// The vocabulary that the run was trained with.
  private static func vocabulary(
    _ given: String?, _ configuration: RunConfiguration, _ state: CheckpointState
  ) throws -> Vocabulary {
    func check(_ found: Vocabulary, _ path: String, _ otherwise: String) throws -> Vocabulary {
      guard found.digest == state.identity.vocabulary else {
        throw TrainingError.unreadable(path: path, reason: otherwise)
      }
      return found
    }
    if let given {
      return try check(
        Vocabulary(path: given), given,
        "is not the vocabulary that the run was trained with (its SHA-256 differs)")
    }
    // Of fine-tuning a file, of pretraining that of the corpus.
    let path = configuration.task.vocabulary ?? configuration.data.corpus
    let found: Vocabulary
    do {
      found =
        configuration.task.vocabulary == nil
        ? try Corpus(directory: path).vocabulary : try Vocabulary(path: path)
    } catch {
      let what = configuration.task.vocabulary == nil ? "the run's corpus" : "the run's vocabulary"
      throw TrainingError.unreadable(
        path: path, reason: "\(what) cannot be read (\(error)); give its vocabulary with --vocab")
    }
    return try check(
      found, path, "has another vocabulary than the run was trained with; give that with --vocab")
  }
}
