import BinaryModel
import DurableFiles
import FileFormats

/// A checkpoint as a packed model for use: `bipft export`.
public struct ModelExport: Sendable {
  /// A run or a checkpoint.
  let source: String
  /// Which of the run's checkpoints.
  let choice: ModelChoice
  let output: String
  /// nil for what the checkpoint has: a classifier, else what fills masks, else none.
  let head: PackedModelFormat.Head?
  let reals: PackedModelFormat.Reals
  /// The vocabulary, if the run's corpus is not where its configuration says.
  let vocabulary: String?

  public init(
    source: String, choice: ModelChoice, output: String, head: PackedModelFormat.Head?,
    reals: PackedModelFormat.Reals, vocabulary: String?
  ) {
    self.source = source
    self.choice = choice
    self.output = output
    self.head = head
    self.reals = reals
    self.vocabulary = vocabulary
  }

  /// What was exported, and the sizes of the file.
  public struct Result: Sendable {
    public let checkpoint: String
    public let step: Int
    public let head: PackedModelFormat.Head
    public let sizes: PackedModelWriter.Sizes
  }

  /// Writes the file whole or not at all.
  ///
  /// - Parameter report: receives a line for each checkpoint that is skipped since it is damaged.
  /// - Throws: errors of checkpoints, corpora and weights; `TrainingError.unreadable` for a vocabulary that is not the
  ///   run's, for a head that the checkpoint has not, and for a model that is not binary.
  /// - Cost: reads and hashes the checkpoint; memory for its weights in float32.
  public func run(report: (String) -> Void) throws -> Result {
    let source = try ExportSource(source, choice, vocabulary: vocabulary, report: report)
    try source.checkExportable()
    let model = source.configuration.model
    guard model.precision == .binary, model.linearRank == 0 else {
      throw TrainingError.unreadable(
        path: source.folder + "/state.json",
        reason: "has model.precision \(model.precision.rawValue) and model.linear_rank \(model.linearRank); "
          + "a packed file holds models with binary and 0 alone")
    }
    let weights = try PretrainedWeights(path: source.weightsPath)
    let heads = PackedModelWriter.heads(of: weights)
    let head = head ?? heads[0]
    guard heads.contains(head) else {
      throw TrainingError.unreadable(
        path: source.weightsPath,
        reason:
          "has no head \(head.rawValue); use --head \(heads.map(\.rawValue).joined(separator: " or "))")
    }
    var notes = [
      PackedModelFormat.configurationKey: source.portableConfiguration,
      PackedModelFormat.sequenceLengthKey: "\(source.configuration.data.sequenceLength)",
    ]
    var outputs = 1
    if head == .classifier {
      let task = try source.task()
      notes[PackedModelFormat.labelsKey] = JSONText.array(task.labels.map(JSONText.quoted))
      notes[PackedModelFormat.textsKey] = "\(task.texts)"
      notes[PackedModelFormat.poolingKey] = source.configuration.task.pooling.rawValue
      outputs = max(1, task.labels.count)
    }
    let sizes = try PackedModelWriter.write(
      weights, source.model, head: head, outputs: outputs, reals: reals,
      vocabulary: source.vocabulary.lines, notes: notes, to: output)
    return Result(checkpoint: source.folder, step: source.state.step, head: head, sizes: sizes)
  }
}
