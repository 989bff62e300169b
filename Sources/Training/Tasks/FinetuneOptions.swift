import DurableFiles

/// The arguments of `bipft finetune`. What is nil is as the configuration file says, else as `FinetuneRuns` has it.
public struct FinetuneOptions: Equatable, Sendable {
  /// A YAML file of some keys of a configuration.
  public var configurationFile: String?
  /// The name of a task of GLUE; nil for one's own files with these columns.
  public var task: String?
  public var texts: [String] = []
  public var label: String?
  /// The labels are numbers.
  public var isNumber = false
  /// What to start from, see `FinetuneStart`.
  public var checkpoint: String?
  /// The folder of the task's files.
  public var data: String?
  /// Keys of the model that may differ from what it starts from.
  public var precision: String?
  public var estimatorRank: Int?
  /// A run or checkpoint of the task to distil from, and what of it.
  public var teacher: String?
  public var distillation: String?
  /// What of a sequence the head reads: `first` or `mean`.
  public var pooling: String?
  /// The vocabulary of the model.
  public var vocabulary: String?
  public var epochs: Int?
  public var learningRate: String?
  public var batch: Int?
  /// Tokens of a sequence.
  public var length: Int?
  /// Epochs without a better one after which a run ends.
  public var patience: Int?
  /// The first seed.
  public var seed: UInt64?
  /// Runs, each with the seed after the last one's; nil makes one run and no summary of several.
  public var seeds: Int?
  /// The run folder, or of several runs the folder that holds theirs.
  public var output: String?
  /// `KEY=VALUE` each, which count more than all else.
  public var overrides: [String] = []
  /// See `PretrainOptions`.
  public var allowedChanges: [String] = []
  public var triesAgain = false
  public var isDryRun = false
  /// Neither progress nor messages, but for errors.
  public var isQuiet = false
  public var plannedRanks: Int?
  /// Files of texts to be predicted at the end.
  public var predict: [String] = []
  /// Predictions come with the probability of each class.
  public var givesProbabilities = false
  /// Which model predicts.
  public var choice = ModelChoice.best

  public init() {}

  /// What these arguments make of keys of the configuration.
  var keys: [String] {
    var keys: [String] = []
    func add(_ key: String, _ value: String?) { if let value { keys.append("\(key)=\(value)") } }
    add("task.name", task.map(JSONText.quoted))
    add("task.text", texts.first.map(JSONText.quoted))
    add("task.second_text", texts.dropFirst().first.map(JSONText.quoted))
    add("task.label", label.map(JSONText.quoted))
    if isNumber { add("objective", Objectives.regression) }
    add("initial_weights", checkpoint.map(JSONText.quoted))
    add("model.precision", precision)
    add("model.estimator_rank", estimatorRank.map(String.init))
    add("task.pooling", pooling)
    add("task.teacher", teacher.map(JSONText.quoted))
    add("task.distillation", distillation)
    add("data.corpus", data.map(JSONText.quoted))
    add("task.vocabulary", vocabulary.map(JSONText.quoted))
    add("task.epochs", epochs.map(String.init))
    add("training.learning_rate", learningRate)
    if let batch {
      add("training.global_batch", "\(batch)")
      add("training.micro_batch", "\(Self.microBatch(of: batch))")
    }
    add("data.sequence_length", length.map(String.init))
    add("evaluation.patience", patience.map(String.init))
    add("seed", seed.map(String.init))
    return keys
  }

  /// Rows of a lane, so that as many ranks as can be had from a batch, up to 8, may share it.
  static func microBatch(of batch: Int) -> Int { batch / [8, 4, 2, 1].first { batch % $0 == 0 }! }
}
