import BinaryModel
import Coordinator
import Corpora
import DurableFiles
import RunSettings

/// What a run of fine-tuning starts from: a checkpoint, the configuration of its run, and its vocabulary.
struct FinetuneStart {
  /// The folder of the checkpoint.
  let path: String
  let configuration: RunConfiguration
  /// The file of the vocabulary.
  let vocabulary: String

  /// - Parameters:
  ///   - name: the folder of a checkpoint, or of a run, whose newest whole one it is.
  ///   - vocabulary: nil takes that which the checkpoint's run names.
  /// - Throws: `TrainingError` for a checkpoint or vocabulary that cannot be read or do not fit each other.
  init(_ name: String, vocabulary: String?) throws(TrainingError) {
    let path = try Self.path(name)
    self.path = path
    let checkpoint = try inModule { () throws(CheckpointError) in try Checkpoint(path: path) }
    configuration = try inModule { () throws(ConfigurationError) in
      try RunConfiguration.parse(checkpoint.state.configurationText, file: path + "/state.json")
    }
    self.vocabulary = vocabulary ?? configuration.task.vocabulary ?? configuration.data.corpus + "/vocab.txt"
    if vocabulary == nil, !fileExists(self.vocabulary) {
      throw .incompleteTask(
        "\(self.vocabulary): not there, and the checkpoint \(path) needs its vocabulary; name it with --vocab"
      )
    }
    try check(checkpoint)
  }

  private func check(_ checkpoint: Checkpoint) throws(TrainingError) {
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
