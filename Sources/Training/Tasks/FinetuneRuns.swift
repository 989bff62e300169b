import DurableFiles
import Foundation
import RunSettings
import Tasks

/// The runs that `bipft finetune` makes of its arguments and its configuration file, one a seed.
///
/// A key of their configuration is as `--set` says, else the argument for it, else the file, else the published recipe (AdamW
/// without decay, 32 rows of at most 128 tokens a step, constant rate 2e-5, dropout 0.1, the task's number of epochs), else,
/// as the model's shape, the configuration of what they start from.
struct FinetuneRuns {
  private let options: FinetuneOptions
  /// The text of the configuration file; without one an empty mapping.
  private let text: String
  private let given: GivenKeys
  /// What to start from, and the folder of the data.
  private let start: String
  private let data: String
  let definition: TaskDefinition
  let seeds: [UInt64]
  /// Holds the summary, and the run folders but for that of a single run that has a name.
  let folder: String

  /// Epochs of BiPFT's authors; WNLI they leave out.
  private static let publishedEpochs = [
    "cola": 50, "mnli": 6, "mrpc": 20, "sst2": 10, "stsb": 20, "qqp": 6, "qnli": 10, "rte": 20,
  ]

  private var fileName: String { Self.fileName(options) }
  private static func fileName(_ options: FinetuneOptions) -> String {
    options.configurationFile ?? "bipft finetune"
  }

  /// - Parameter text: of the configuration file; nil if there is none.
  /// - Throws: `TrainingError` where they do not tell which task, checkpoint and data.
  init(_ options: FinetuneOptions, text: String?) throws(TrainingError) {
    self.options = options
    let text = text ?? "{}"
    self.text = text
    given = try inModule { () throws(ConfigurationError) in
      try GivenKeys(text, file: Self.fileName(options), overrides: options.keys + options.overrides)
    }
    definition = try Self.definition(given)
    guard let start = given.value("initial_weights", \.initialWeights) else {
      throw .incompleteTask(
        "--from: missing; name the run, checkpoint or BERT to start from, or scratch, or initial_weights in the file"
      )
    }
    guard let data = given.value("data.corpus", \.data.corpus) else {
      throw .incompleteTask(
        "--data: missing; name the folder of the task's files, or data.corpus in the file")
    }
    self.start = start
    self.data = data
    let first = given.value("seed", \.seed) ?? 1
    seeds = (0..<UInt64(options.seeds ?? 1)).map { first &+ $0 }
    let name = options.configurationFile.map {
      URL(fileURLWithPath: $0).deletingPathExtension().lastPathComponent
    }
    folder = options.output ?? "runs/\(name ?? definition.name)"
  }

  private static func definition(_ given: GivenKeys) throws(TrainingError) -> TaskDefinition {
    if let name = given.value("task.name", \.task.name) {
      return try inModule { () throws(TaskError) in try TaskDefinition.find(name) }
    }
    guard let text = given.value("task.text", \.task.text) else {
      throw .incompleteTask(
        "task.name: missing; name a task of GLUE (--task), or give the columns of your own files (--text, --label)"
      )
    }
    let second = given.value("task.second_text", \.task.secondText)
    return TaskDefinition(
      texts: [text] + (second.map { [$0] } ?? []),
      label: given.value("task.label", \.task.label) ?? "label",
      isNumber: given.value("objective", \.objective) == Objectives.regression)
  }

  /// The folder of the run with this seed.
  func runDirectory(seed: UInt64) -> String {
    options.seeds == nil && options.output != nil ? folder : "\(folder)/seed-\(seed)"
  }

  /// The arguments of the run with this seed.
  func options(seed: UInt64) -> PretrainOptions {
    var run = PretrainOptions(
      configurationFile: fileName, overrides: options.overrides, runDirectory: runDirectory(seed: seed),
      allowedChanges: options.allowedChanges, triesAgain: options.triesAgain, isDryRun: options.isDryRun,
      isQuiet: options.isQuiet,
      plannedRanks: options.plannedRanks)
    run.program = "bipft"
    return run
  }

  /// The configuration of the run with this seed.
  ///
  /// - Throws: `TrainingError` for a checkpoint, vocabulary or data that cannot be read or do not fit each other.
  /// - Cost: reads the task's files, to count them.
  func configuration(seed: UInt64) throws(TrainingError) -> RunConfiguration {
    let start = try FinetuneStart(self.start, given)
    let data = try inModule { () throws(TaskError) in try TaskData(definition, folder: self.data) }
    // Before hours of training, not after them.
    for file in options.predict {
      _ = try inModule { () throws(TaskError) in try TaskData.texts(definition, path: file) }
    }
    func text(_ value: String?) -> String { value.map(JSONText.quoted) ?? "null" }
    let values = recipe(start.configuration, data)
    let forced = [
      "seed=\(seed)", "initial_weights=\(text(start.weights))",
      "task.vocabulary=\(text(start.vocabulary))", "task.epochs=null",
    ]
    return try inModule { () throws(ConfigurationError) in
      let base = try RunConfiguration.parse(
        start.configuration.canonicalText, file: "bipft finetune",
        overrides: values.map { "\($0.key)=\($0.value)" })
      return try RunConfiguration.parse(
        self.text, file: fileName, over: base, overrides: options.keys + options.overrides + forced)
    }
  }

  /// The published recipe for this data, and all else in which fine-tuning differs from what it starts from.
  private func recipe(_ base: RunConfiguration, _ data: TaskData) -> [(key: String, value: String)] {
    func text(_ value: String?) -> String { value.map(JSONText.quoted) ?? "null" }
    let trainingRows = given.value("task.training_rows", \.task.trainingRows)
    let rows = min(data.training.examples.count, trainingRows ?? .max)
    let batch = given.value("training.global_batch", \.training.globalBatch) ?? 32
    let epochs = given.value("task.epochs", \.task.epochs)
    let stepsPerEpoch = max(1, rows / batch)
    let steps = stepsPerEpoch * (epochs ?? Self.publishedEpochs[definition.name] ?? 10)
    let own = definition.isBuiltIn ? [] : definition.texts
    return precision(base) + [
      ("objective", definition.objective), ("stop_after", "null"), ("teacher", "null"),
      ("model.dropout", "0.1"), ("data.sequence_length", "\(min(128, base.model.maximumLength))"),
      ("task.name", text(definition.isBuiltIn ? definition.name : nil)), ("task.text", text(own.first)),
      ("task.second_text", text(own.dropFirst().first)),
      ("task.label", text(definition.isBuiltIn ? nil : definition.label)), ("task.training_rows", "null"),
      ("task.pooling", "first"), ("task.teacher", "null"), ("task.distillation", "both"),
      ("training.steps", "\(steps)"), ("training.global_batch", "\(batch)"),
      ("training.micro_batch", "\(FinetuneOptions.microBatch(of: batch))"),
      ("training.learning_rate", "2e-5"), ("training.warmup_steps", "0"), ("training.decay", "constant"),
      ("training.weight_decay", "0"), ("training.gradient_clip", "0"),
      ("evaluation.every", "\(stepsPerEpoch)"),
      ("evaluation.sequences", "\(data.heldOut.reduce(0) { $0 + $1.examples.count })"),
      ("evaluation.patience", "0"), ("checkpoint.every", "\(stepsPerEpoch)"), ("checkpoint.keep", "1"),
      ("checkpoint.keep_every", "0"), ("checkpoint.keep_best", "true"),
    ]
  }

  /// What goes with the precision of the model: at full precision there are no estimators and corrections, with real weights
  /// gradients are not rounded, and a BERT that becomes binary gets the published estimators.
  private func precision(_ base: RunConfiguration) -> [(key: String, value: String)] {
    let precision = given.value("model.precision", \.model.precision) ?? base.model.precision
    let rank = base.model.precision == .full ? 1 : base.model.estimatorRank
    var values = [
      ("model.precision", precision.rawValue),
      ("model.estimator_rank", "\(precision == .full ? 0 : rank)"),
    ]
    if precision == .full { values += [("model.linear_rank", "0"), ("model.activation_bits", "1")] }
    if precision != .binary { values.append(("training.backward_precision", "float32")) }
    return values.map { (key: $0.0, value: $0.1) }
  }
}
