import BinaryModel
import Coordinator
import Corpora
import DurableFiles
import RunSettings
import Tasks

/// The arguments of `bipft finetune`.
public struct FinetuneOptions: Equatable, Sendable {
  /// The name of a task of GLUE; nil for one's own files with these columns.
  public var task: String?
  public var texts: [String]
  public var label: String?
  /// The labels are numbers.
  public var isNumber: Bool
  /// The checkpoint to start from: its folder, or that of its run.
  public var checkpoint: String
  /// The folder of the task's files.
  public var data: String
  /// nil takes the vocabulary that the checkpoint's run names.
  public var vocabulary: String?
  /// nil takes the published number.
  public var epochs: Int?
  public var learningRate: String
  public var batch: Int
  /// Tokens of a sequence; nil for 128, or the model's longest.
  public var length: Int?
  public var seed: UInt64
  /// The run folder; nil for `runs/TASK-seedN`.
  public var output: String?
  /// `KEY=VALUE` each, of the configuration that comes of all this.
  public var overrides: [String]
  /// See `PretrainOptions`.
  public var allowedChanges: [String]
  public var triesAgain: Bool
  /// Files of texts to be predicted at the end.
  public var predict: [String]

  public init(
    task: String?, texts: [String], label: String?, isNumber: Bool, checkpoint: String, data: String,
    vocabulary: String?, epochs: Int?, learningRate: String, batch: Int, length: Int?, seed: UInt64,
    output: String?, overrides: [String], allowedChanges: [String], triesAgain: Bool, predict: [String]
  ) {
    self.task = task
    self.texts = texts
    self.label = label
    self.isNumber = isNumber
    self.checkpoint = checkpoint
    self.data = data
    self.vocabulary = vocabulary
    self.epochs = epochs
    self.learningRate = learningRate
    self.batch = batch
    self.length = length
    self.seed = seed
    self.output = output
    self.overrides = overrides
    self.allowedChanges = allowedChanges
    self.triesAgain = triesAgain
    self.predict = predict
  }

  /// Epochs of BiPFT's authors; 10 where they name none.
  private static let publishedEpochs = [
    "cola": 50, "mnli": 6, "mrpc": 20, "sst2": 10, "stsb": 20, "qqp": 6, "qnli": 10, "rte": 20,
  ]

  /// What is to be told of what.
  func definition() throws(TrainingError) -> TaskDefinition {
    guard let task else {
      return TaskDefinition(texts: texts, label: label ?? "label", isNumber: isNumber)
    }
    return try inModule { () throws(TaskError) in try TaskDefinition.find(task) }
  }

  func runDirectory() throws(TrainingError) -> String {
    if let output { return output }
    return "runs/\(try definition().name)-seed\(seed)"
  }

  /// The configuration of the run: the model of the checkpoint, the published recipe, and what these arguments change.
  ///
  /// - Throws: `TrainingError` for a checkpoint, vocabulary or data that cannot be read or do not fit each other.
  /// - Cost: reads the task's files, to count them.
  func configuration() throws(TrainingError) -> RunConfiguration {
    let task = try definition()
    let path = try startPath()
    let start = try inModule { () throws(CheckpointError) in try Checkpoint(path: path) }
    let base = try inModule { () throws(ConfigurationError) in
      try RunConfiguration.parse(start.state.configurationText, file: start.path + "/state.json")
    }
    let vocabulary = try vocabulary(base, start)
    let data = try inModule { () throws(TaskError) in try TaskData(task, folder: self.data) }
    // Before hours of training, not after them.
    for file in predict { _ = try inModule { () throws(TaskError) in try TaskData.texts(task, path: file) } }
    let stepsPerEpoch = max(1, data.training.examples.count / batch)
    let steps = stepsPerEpoch * (epochs ?? Self.publishedEpochs[task.name] ?? 10)
    let heldOut = data.heldOut.reduce(0) { $0 + $1.examples.count }
    // As many ranks as can be had from the batch, up to 8.
    let lanes = [8, 4, 2, 1].first { batch % $0 == 0 } ?? 1
    func text(_ value: String?) -> String { value.map { JSONText.quoted($0) } ?? "null" }
    let own = task.isBuiltIn ? [] : task.texts
    let values: [(key: String, value: String)] = [
      ("seed", "\(seed)"), ("objective", task.objective), ("stop_after", "null"),
      ("initial_weights", text(start.path + "/model.safetensors")), ("teacher", "null"),
      ("model.dropout", "0.1"), ("data.corpus", text(self.data)),
      ("data.sequence_length", "\(length ?? min(128, base.model.maximumLength))"),
      ("task.name", text(task.isBuiltIn ? task.name : nil)), ("task.text", text(own.first)),
      ("task.second_text", text(own.dropFirst().first)),
      ("task.label", text(task.isBuiltIn ? nil : task.label)),
      ("task.vocabulary", text(vocabulary)),
      ("training.steps", "\(steps)"), ("training.global_batch", "\(batch)"),
      ("training.micro_batch", "\(batch / lanes)"), ("training.learning_rate", learningRate),
      ("training.warmup_steps", "0"), ("training.decay", "constant"), ("training.weight_decay", "0"),
      ("training.gradient_clip", "0"), ("evaluation.every", "\(stepsPerEpoch)"),
      ("evaluation.sequences", "\(heldOut)"), ("checkpoint.every", "\(stepsPerEpoch)"),
      ("checkpoint.keep", "1"), ("checkpoint.keep_every", "0"),
    ]
    return try inModule { () throws(ConfigurationError) in
      try RunConfiguration.parse(
        base.canonicalText, file: "bipft finetune",
        overrides: values.map { "\($0.key)=\($0.value)" } + overrides)
    }
  }

  /// The folder of the checkpoint to start from: of a run, the newest that is whole.
  private func startPath() throws(TrainingError) -> String {
    func missing(_ problem: String) -> TrainingError {
      .incompleteTask(
        "--from \(checkpoint): \(problem); give the folder of a run, or of a checkpoint as RUN/checkpoints/step-00000100"
      )
    }
    do throws(CheckpointError) {
      switch try CheckpointStore.resolve(checkpoint, run: ".") {
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

  /// The vocabulary that the checkpoint was trained with.
  private func vocabulary(_ base: RunConfiguration, _ start: Checkpoint) throws(TrainingError) -> String {
    let path = vocabulary ?? base.task.vocabulary ?? base.data.corpus + "/vocab.txt"
    if vocabulary == nil, !fileExists(path) {
      throw .incompleteTask(
        "\(path): not there, and the checkpoint \(start.path) needs its vocabulary; name it with --vocab")
    }
    let found = try inModule { () throws(CorpusError) in try Vocabulary(path: path) }
    guard found.digest == start.state.identity.vocabulary else {
      throw .incompleteTask(
        "\(path): another vocabulary than that of the checkpoint \(start.path) (SHA-256 \(found.digest.prefix(12))…, not "
          + "\(start.state.identity.vocabulary.prefix(12))…); name the right one with --vocab")
    }
    return path
  }
}
