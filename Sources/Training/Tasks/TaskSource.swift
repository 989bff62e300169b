import BinaryModel
import Coordinator
import Corpora
import Kernels
import RunSettings
import Tasks

/// The data of the task that a configuration names, with what makes sequences of it. Legend: T tokens of a sequence.
struct TaskSource: Sendable {
  let data: TaskData
  let encoder: PairEncoder

  /// - Throws: `TrainingError` where the configuration names no task, and for data or a vocabulary that cannot be read.
  /// - Cost: reads the files; memory for their texts.
  init(_ configuration: RunConfiguration) throws(TrainingError) {
    let task = try configuration.task.definition(objective: configuration.objective)
    if configuration.task.epochs != nil {
      throw .incompleteTask(
        "task.epochs: only bipft finetune makes steps of it; give training.steps, or use bipft finetune --config"
      )
    }
    guard let path = configuration.task.vocabulary else {
      throw .incompleteTask("task.vocabulary: missing; name the vocabulary of the model, a vocab.txt")
    }
    let all = try inModule { () throws(TaskError) in
      try TaskData(task, folder: configuration.data.corpus)
    }
    data = Self.chosen(configuration.task.trainingRows, of: all)
    let vocabulary = try inModule { () throws(CorpusError) in try Vocabulary(path: path) }
    encoder = PairEncoder(vocabulary, length: configuration.data.sequenceLength)
    if let teacher = configuration.task.teacher { try checkTeacher(teacher, configuration.task) }
  }

  /// The data with the first `count` training rows of a keyed permutation, which is the same for every seed, so that seeds
  /// differ in the training alone; with all of them where `count` is nil or there are no more.
  private static func chosen(_ count: Int?, of data: TaskData) -> TaskData {
    let rows = data.training.examples.count
    guard let count, count < rows else { return data }
    let order = KeyedPermutation(
      count: rows, random: CounterRandom(seed: 0, purpose: .trainingRows), place: (0, 0, 0))
    return data.training(on: (0..<count).map { order[$0] }.sorted())
  }

  /// The metrics of predictions of held-out rows, `value` telling what each predicts.
  func metrics(_ rows: [Prediction], value: (Prediction) -> Double) -> [TaskRecord.Value] {
    var first = 0
    var values: [TaskRecord.Value] = []
    for part in data.heldOut {
      let own = rows.filter { (first..<first + part.examples.count).contains(Int($0.sample)) }
      first += part.examples.count
      guard !own.isEmpty else { continue }
      let (predicted, actual) = (own.map(value), own.map { Double($0.label) })
      for metric in data.task.metrics {
        values.append(
          TaskRecord.Value(
            key: metric.rawValue + part.suffix, metric.value(predicted: predicted, actual: actual)))
      }
    }
    return values
  }

  /// What evaluations record of a model's outputs.
  func score(_ rows: [Prediction]) -> [(key: String, value: Double)] {
    metrics(rows) { data.task.prediction($0.values) }.map { ($0.key, $0.value ?? .nan) }
  }
}

extension TaskDefinition {
  /// What the outputs of a model say: the class of the largest one (of equal ones the first), or the number.
  func prediction(_ outputs: [Float]) -> Double {
    switch target {
    case .classes: return Double(outputs.indices.max { (outputs[$0], -$0) < (outputs[$1], -$1) }!)
    case .number: return Double(outputs[0])
    }
  }

  /// The name of the objective that trains it.
  var objective: String { target == .classes ? Objectives.classification : Objectives.regression }
}

extension RunConfiguration.Task {
  /// The task that the keys describe.
  ///
  /// - Throws: `TrainingError` for an unknown task, keys that are missing or contradict each other.
  func definition(objective: String) throws(TrainingError) -> TaskDefinition {
    guard let name else {
      guard let text, let label else {
        throw .incompleteTask(
          "task.name: missing; name a task of GLUE, or give the columns of your own files with task.text and task.label"
        )
      }
      return TaskDefinition(
        texts: [text] + (secondText.map { [$0] } ?? []), label: label,
        isNumber: objective == Objectives.regression)
    }
    if text != nil || secondText != nil || label != nil {
      throw .incompleteTask(
        "task.name: \(name) has columns of its own; leave task.text, task.second_text and task.label out, or the name"
      )
    }
    let task = try inModule { () throws(TaskError) in try TaskDefinition.find(name) }
    guard task.objective == objective else {
      throw .incompleteTask("objective: \(name) is a task of \(task.objective), not of \(objective)")
    }
    return task
  }
}

extension RunInputs where Goal.Labels == SequenceLabels {
  /// An objective on the rows of the configuration's task, which `objective` makes for them.
  ///
  /// - Throws: `TrainingError` for data that cannot be read or do not fit.
  init(
    onTaskOf configuration: RunConfiguration, _ objective: (TaskSource) -> Goal
  ) throws(TrainingError) {
    let source = try TaskSource(configuration)
    try self.init(
      configuration, objective(source), training: TaskSamples([source.data.training], source.encoder),
      heldOut: TaskSamples(source.data.heldOut, source.encoder),
      vocabularySize: source.encoder.vocabulary.count, vocabularyDigest: source.encoder.vocabulary.digest,
      corpusDigest: source.data.digest
    ) { touch in TaskRecord.notes(source, touch: touch) }
  }
}
