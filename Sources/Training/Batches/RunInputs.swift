import BinaryModel
import Collectives
import Coordinator
import Corpora
import DurableFiles
import Foundation
import Kernels
import RunSettings
import Telemetry

/// What a run of an objective is made from, checked: configuration, samples, schedule, layout. The same on every rank.
public struct RunInputs<Goal: Objective>: Sendable {
  public let configuration: RunConfiguration
  public let layout: ModelLayout<Goal>
  public let batches: BatchSource<Goal.Labels>
  public let heldOut: HeldOutBatches<Goal.Labels>
  /// Digests of what the samples are made of.
  let corpusDigest: String
  let vocabularyDigest: String
  /// What a user is told at the beginning of a new run, and the files that its folder keeps beside the configuration (the
  /// names of classes, say), by their names. Made by the first rank alone, which calls `touch` on the way, as a sign of life.
  let atStart: @Sendable (_ touch: () -> Void) -> StartNotes
  /// The path of the teacher's weights and SHA-256 of them, once `findTeacher` has found them; nil without a teacher.
  private(set) var teacherPath: String?
  private(set) var teacherDigest: String?

  /// - Parameters:
  ///   - training, heldOut: the samples to train on and to be evaluated on.
  ///   - vocabularySize, vocabularyDigest: of the vocabulary that their tokens are from.
  ///   - corpusDigest: of all that the samples are read from; a run with another one is another run.
  ///   - atStart: what there is to tell and to keep at the beginning.
  /// - Precondition: no two losses or shares have the same key, and none that of another part of a record.
  /// - Throws: `TrainingError` where there are too few samples.
  public init(
    _ configuration: RunConfiguration, _ objective: Goal, training: any Samples<Goal.Labels>,
    heldOut: any Samples<Goal.Labels>, vocabularySize: Int, vocabularyDigest: String, corpusDigest: String,
    atStart: @escaping @Sendable (_ touch: () -> Void) -> StartNotes = { _ in StartNotes() }
  ) throws(TrainingError) {
    let keys = objective.noLosses(isDistilled: true).terms.map(\.key)
    precondition(
      Set(keys).count == keys.count && StepRecord.reservedKeys.isDisjoint(with: keys),
      "the losses and shares of \(Goal.self) are called \(keys)")
    self.configuration = configuration
    layout = ModelLayout(configuration.modelConfiguration(vocabularySize: vocabularySize), objective)
    batches = try BatchSource(configuration, training)
    self.heldOut = HeldOutBatches(configuration, heldOut)
    self.vocabularyDigest = vocabularyDigest
    self.corpusDigest = corpusDigest
    self.atStart = atStart
  }

  /// What the checkpoints of the run hold.
  var tensors: CheckpointTensors { CheckpointTensors(layout.parameters, optimizerState: AdamW.stateNames) }

  /// Sequences of a micro-batch that are computed at a time.
  var sliceSequences: Int { configuration.sliceSequences(for: layout.objective) }

  /// Finds the teacher, and the digest of its file as this rank's host has it: the first rank of each host reads it.
  /// Collective.
  ///
  /// - Throws: `TrainingError`, the same on all ranks.
  mutating func findTeacher(world: borrowing World) throws {
    let found = try world.together { world.rank == 0 ? try configuration.teacherPath() : nil }
    let path = String(decoding: try world.broadcast(Array((found ?? "").utf8), from: 0), as: UTF8.self)
    if path.isEmpty { return }
    teacherPath = path
    let key = configuration.teacher == nil ? "task.teacher" : "teacher"
    let host = world.hostName
    let hosts = try world.allGather(Array(host.utf8))
    let reader = hosts.firstIndex(of: Array(host.utf8))!
    let own = try world.together {
      reader == world.rank ? try digest(ofTeacher: path, key: key, host: host) : ""
    }
    teacherDigest = String(decoding: try world.allGather(Array(own.utf8))[reader], as: UTF8.self)
  }

  /// What must not change when a run is resumed. Paths stay out: digests stand for what they name.
  func identity() -> RunIdentity {
    var settings: [String: String] = [:]
    for setting in configuration.definingSettings
    where ![
      "data.corpus", "initial_weights", "task.vocabulary", "task.teacher", "sentence.evaluation",
    ].contains(setting.key) {
      settings[setting.key] = setting.value
    }
    // Runs from before there was a choice do not name it.
    for key in settings.keys where key.hasPrefix("task.") && settings[key] == "null" { settings[key] = nil }
    if settings["evaluation.patience"] == "0" { settings["evaluation.patience"] = nil }
    if configuration.task.teacher == nil { settings["task.distillation"] = nil }
    if settings["model.linear_rank"] == "0" { settings["model.linear_rank"] = nil }
    if settings["model.precision"] == ModelPrecision.binary.rawValue { settings["model.precision"] = nil }
    if settings["model.activation_bits"] == "1" { settings["model.activation_bits"] = nil }
    if settings["model.ffn_activation"] == FeedForwardActivation.gelu.rawValue {
      settings["model.ffn_activation"] = nil
    }
    if settings["training.step_size_learning_rate"] == "null" {
      settings["training.step_size_learning_rate"] = nil
    }
    if settings["training.hidden_loss"] == HiddenLoss.mean.rawValue { settings["training.hidden_loss"] = nil }
    if settings["training.decay"] == LearningRateDecay.linear.rawValue { settings["training.decay"] = nil }
    if configuration.objective != Objectives.sentence {
      for key in settings.keys where key.hasPrefix("sentence.") { settings[key] = nil }
    }
    if settings["objective"] == RunConfiguration.defaultObjective { settings["objective"] = nil }
    settings["teacher"] = teacherDigest ?? settings["teacher"]
    return RunIdentity(
      corpus: corpusDigest, vocabulary: vocabularyDigest, schedule: batches.schedule.digest,
      configuration: settings)
  }
}

/// See `RunInputs.atStart`.
public struct StartNotes: Sendable {
  public var messages: [String] = []
  public var files: [(name: String, text: String)] = []

  public init() {}
}

/// SHA-256 of the teacher's file; of a sharded one that of its files' digests and names, in their order.
///
/// - Cost: reads all of the files.
private func digest(ofTeacher path: String, key: String, host: String) throws(TrainingError) -> String {
  let unreadable = TrainingError.unreadable(
    path: path,
    reason: "cannot be read on \(host) (key \(key)); give a safetensors file of a BERT that all hosts have")
  // A host may lack what the others have.
  if access(path, R_OK) != 0 { throw unreadable }
  let files = try inModule { () throws(ModelError) in try WeightFiles(path: path).all }
  do {
    let digests = try files.map { file throws(FileError) in try fileDigest(file) }
    if digests.count == 1 { return digests[0] }
    let lines = zip(digests, files).map { "\($0)  \(lastName(of: $1))\n" }
    return SHA256.digest(Array(lines.joined().utf8))
  } catch {
    throw unreadable
  }
}

extension RunInputs where Goal.Labels == PretrainingLabels {
  /// An objective on the samples of pretraining: pairs of segments of the corpus that the configuration names, some tokens
  /// masked.
  ///
  /// - Throws: `TrainingError` for a corpus that cannot be read or does not fit.
  public init(
    onCorpusOf configuration: RunConfiguration, _ objective: Goal
  ) throws(TrainingError) {
    let corpus = try inModule { () throws(CorpusError) in try Corpus(directory: configuration.data.corpus) }
    try self.init(
      configuration, objective,
      training: PretrainingSamples(corpus, split: .training, configuration: configuration),
      heldOut: PretrainingSamples(corpus, split: .heldOut, configuration: configuration),
      vocabularySize: corpus.vocabulary.count, vocabularyDigest: corpus.vocabulary.digest,
      corpusDigest: corpus.digest)
  }
}
