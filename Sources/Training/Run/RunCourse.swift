import Coordinator

/// How far a run has come and what a resumed one must know of the steps before, the same on all ranks.
struct RunCourse {
  /// Updates done.
  private(set) var step = 0
  /// `Schedule.history` after `step` updates.
  private(set) var sampleHistory = ""
  /// Losses before `step`, to tell a spike.
  private var lossWindow = LossWindow()
  /// Steps skipped one after the other, up to `step`.
  private(set) var skippedInARow = 0
  /// Of those up to `step`.
  var best = BestEvaluation()
  /// What computed the checkpoint that the run goes on from, if that is known.
  private(set) var restoredArithmetic: Arithmetic?

  init() {}

  /// Another step is done, or `skipped` says why it was not.
  mutating func advance(by schedule: Schedule, loss: Double, skipped: String?) {
    if skipped == nil { lossWindow.append(loss) }
    skippedInARow = skipped == nil ? 0 : skippedInARow + 1
    sampleHistory = schedule.history(after: sampleHistory, step: step)
    step += 1
  }

  /// Why the next step, with this loss, is not to be done; nil if it is.
  ///
  /// - Parameter limit: standard deviations above the mean that make a spike; 0 knows none.
  func reasonToSkip(_ loss: Double, limit: Float) -> String? {
    if !loss.isFinite { return "the loss is not finite" }
    guard limit > 0, let score = lossWindow.zScore(loss), score > Double(limit) else { return nil }
    return "the loss is a spike"
  }

  // MARK: In a checkpoint

  private static let lossesKey = "recent_losses"
  private static let skippedKey = "skipped_in_a_row"

  init(_ state: CheckpointState) {
    step = state.step
    restoredArithmetic = state.arithmetic
    sampleHistory = state.sampleHistory
    lossWindow = LossWindow(text: state.values[Self.lossesKey] ?? "")
    skippedInARow = state.values[Self.skippedKey].flatMap { Int($0) } ?? 0
    best = BestEvaluation(values: state.values)
  }

  var values: [String: String] {
    [Self.lossesKey: lossWindow.text, Self.skippedKey: "\(skippedInARow)"].merging(best.values) { $1 }
  }
}

extension Schedule {
  /// The samples of all lanes in the update number `step`, in order, separated by spaces.
  func sampleIDs(ofStep step: Int) -> String {
    let ids = (0..<lanes).flatMap { lane in
      (0..<microBatch).map { sample(step: step - 1, lane: lane, index: $0).sample }
    }
    return ids.map(String.init).joined(separator: " ")
  }
}
