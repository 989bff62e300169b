import Coordinator
import RunSettings

/// Which of a run's checkpoints gives the model for use: to be packed, or to predict.
public enum ModelChoice: Sendable {
  /// That of the best evaluation, where the run keeps it (`checkpoint.keep_best`); else the newest.
  case best
  /// The newest.
  case last

  /// The folder of the checkpoint that `name` means, verified: one itself, or the choice among those of a run.
  ///
  /// - Parameter report: receives a line for each checkpoint that is skipped since it is damaged.
  /// - Throws: `TrainingError`, where there is none, or the best one is not there or damaged.
  /// - Cost: reads and hashes the checkpoint, and those that are newer.
  func checkpoint(_ name: String, report: (String) -> Void) throws(TrainingError) -> String {
    try inModule { () throws(CheckpointError) -> String in
      switch try CheckpointStore.resolve(name, run: ".") {
      case .checkpoint(let path):
        try CheckpointStore.verify(path)
        return path
      case .store(let store):
        guard
          let newest = try ChosenCheckpoint.newest(of: store, run: store.path + "/..", {}, report)
        else {
          throw CheckpointError.noCheckpoint(path: name, problem: "\(store.path) holds none yet")
        }
        guard self == .best, let step = Self.best(try Checkpoint(path: newest).state) else { return newest }
        guard let best = try store.list().first(where: { $0.step == step }) else {
          throw CheckpointError.noCheckpoint(
            path: name, problem: "its best one, of step \(step), is not there; --last takes the newest")
        }
        try best.verify()
        return best.path
      }
    }
  }

  /// The step of the best checkpoint that the run in the folder `run` keeps; nil if it keeps none for that.
  ///
  /// - Throws: `TrainingError` where the folder cannot be read.
  public static func bestStep(ofRun run: String) throws(TrainingError) -> Int? {
    let items = try inModule { () throws(CheckpointError) in
      try CheckpointStore(path: run + "/checkpoints").list()
    }
    return items.reversed().lazy.compactMap { try? Checkpoint(path: $0.path).state }.first.flatMap(best)
  }

  /// The step of the best checkpoint, as the state of the newest one tells; nil if none is kept for that.
  private static func best(_ newest: CheckpointState) -> Int? {
    guard
      let configuration = try? RunConfiguration.parse(
        newest.configurationText, file: "state.json", isStored: true),
      configuration.checkpoint.keepBest
    else { return nil }
    return BestEvaluation(values: newest.values).step
  }
}
