import BinaryModel
import Coordinator
import Corpora
import DurableFiles
import FileFormats
import RunSettings

/// A checkpoint as a packed model for use: `bipft export`.
public struct ModelExport: Sendable {
  /// A run or a checkpoint.
  let source: String
  /// Which of the run's checkpoints.
  let choice: ModelChoice
  let output: String
  let head: PackedModelFormat.Head
  let reals: PackedModelFormat.Reals
  /// The vocabulary, if the run's corpus is not where its configuration says.
  let vocabulary: String?

  public init(
    source: String, choice: ModelChoice, output: String, head: PackedModelFormat.Head,
    reals: PackedModelFormat.Reals,
    vocabulary: String?
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
    public let sizes: PackedModelWriter.Sizes
  }

  /// Writes the file whole or not at all.
  ///
  /// - Parameter report: receives a line for each checkpoint that is skipped since it is damaged.
  /// - Throws: errors of checkpoints, corpora and weights; `TrainingError.unreadable` for a vocabulary that is not the
  ///   run's.
  /// - Cost: reads and hashes the checkpoint; memory for its weights in float32.
  public func run(report: (String) -> Void) throws -> Result {
    let folder = try choice.checkpoint(source, report: report)
    let state = try Checkpoint(path: folder).state
    let statePath = folder + "/state.json"
    guard let configuration = ModelConfiguration(sizes: state.model) else {
      throw TrainingError.unreadable(path: statePath, reason: "does not tell the sizes of a model")
    }
    let tokens = try tokens(state, statePath)
    guard tokens.count == configuration.vocabularySize else {
      throw TrainingError.unreadable(
        path: statePath,
        reason: "the model has \(configuration.vocabularySize) tokens, its vocabulary \(tokens.count)")
    }
    let sizes = try PackedModelWriter.write(
      PretrainedWeights(path: folder + "/model.safetensors"), configuration, head: head, reals: reals,
      vocabulary: tokens.lines, to: output)
    return Result(checkpoint: folder, step: state.step, sizes: sizes)
  }

  /// The vocabulary that the run was trained with.
  private func tokens(_ state: CheckpointState, _ statePath: String) throws -> Vocabulary {
    if let vocabulary {
      let tokens = try Vocabulary(path: vocabulary)
      guard tokens.digest == state.identity.vocabulary else {
        throw TrainingError.unreadable(
          path: vocabulary,
          reason: "is not the vocabulary that the run was trained with (its SHA-256 differs)")
      }
      return tokens
    }
    let folder = try RunConfiguration.parse(state.configurationText, file: statePath).data.corpus
    let tokens: Vocabulary
    do { tokens = try Corpus(directory: folder).vocabulary } catch {
      throw TrainingError.unreadable(
        path: folder, reason: "the run's corpus cannot be read (\(error)); give its vocabulary with --vocab")
    }
    guard tokens.digest == state.identity.vocabulary else {
      throw TrainingError.unreadable(
        path: folder, reason: "has another vocabulary than the run was trained with; give that with --vocab")
    }
    return tokens
  }
}
