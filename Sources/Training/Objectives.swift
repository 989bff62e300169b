import BinaryModel
import Collectives
import Coordinator
import Planning
import RunSettings

/// All that a run can be trained for, by the name that the key `objective` of the configuration has for it.
public enum Objectives {
  /// One objective: how the inputs of a run are made from a configuration.
  struct Entry: Sendable {
    let name: String
    let inputs: @Sendable (RunConfiguration) throws(TrainingError) -> any TrainableInputs
  }

  static let all = [
    Entry(name: "pretraining") { configuration throws(TrainingError) in
      try RunInputs(onCorpusOf: configuration, Pretraining())
    },
    Entry(name: classification) { configuration throws(TrainingError) in
      try RunInputs(onTaskOf: configuration) { source in
        Classification(
          classes: source.data.classes.count, pooling: configuration.task.pooling,
          distillation: configuration.distillation, score: source.score)
      }
    },
    Entry(name: regression) { configuration throws(TrainingError) in
      try RunInputs(onTaskOf: configuration) { source in
        Regression(
          pooling: configuration.task.pooling, distillation: configuration.distillation, score: source.score)
      }
    },
    Entry(name: sentence) { configuration throws(TrainingError) in
      try RunInputs(sentence: configuration)
    },
  ]

  static let classification = "classification"
  static let regression = "regression"
  static let sentence = "sentence"

  /// The inputs of the run that a configuration defines.
  ///
  /// - Throws: `TrainingError` for an objective that is not known, and for data that cannot be read or do not fit.
  public static func inputs(_ configuration: RunConfiguration) throws(TrainingError) -> any TrainableInputs {
    guard let entry = all.first(where: { $0.name == configuration.objective }) else {
      throw .unknownObjective(configuration.objective, known: all.map(\.name))
    }
    return try entry.inputs(configuration)
  }
}

/// The inputs of a run of whatever objective.
public protocol TrainableInputs: Sendable {
  var configuration: RunConfiguration { get }
  /// Which samples each step takes.
  var schedule: Schedule { get }
  /// What the run will take on `ranks`.
  func plan(on hosts: HostLayout) throws(TrainingError) -> RunPlan
  /// Tokens of the vocabulary that the model takes.
  var vocabularySize: Int { get }
  /// The schedule in words, see `RunInputs.schedulePlan`.
  func schedulePlan(ranks: Int, epoch: UInt32) throws(TrainingError) -> String
  /// The batches of a step, or the held-out ones, see `RunInputs.batchText`.
  func batchText(step: Int?, asJSON: Bool) throws(TrainingError) -> String
  /// Which of the tokens that the samples are cut from are read: none so far; nil where nothing is left out.
  func makeCoverage() -> (any SampleCoverage)?
  /// Trains, on every rank.
  func train(
    _ options: PretrainOptions, start: ContinuousClock.Instant, world: borrowing World
  ) throws -> ExitCode
}
