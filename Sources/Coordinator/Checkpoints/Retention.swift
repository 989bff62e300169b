import Synchronization

/// Which checkpoints of a running job stay: the last k, every n-th and the best of those that are whole.
///
/// It remembers which checkpoints it has read through, or has been told are whole, and looks only at the sizes of those
/// the next time, so that a job does not read its old checkpoints again and again.
public final class Retention: Sendable {
  private let store: CheckpointStore
  private let keepLast: Int
  private let keepEvery: Int?
  private let whole = Mutex<Set<Int>>([])

  /// - Parameter keepEvery: 0 keeps none for that.
  public init(_ store: CheckpointStore, keepLast: Int, keepEvery: Int) {
    self.store = store
    self.keepLast = keepLast
    self.keepEvery = keepEvery > 0 ? keepEvery : nil
  }

  /// The checkpoint of `step` was just written and verified, or verified.
  public func noteWhole(_ step: Int) { whole.withLock { _ = $0.insert(step) } }

  /// Removes what need not stay.
  ///
  /// - Parameters:
  ///   - best: the step of one that stays in any case.
  ///   - touch: called on the way, as a sign of life: checkpoints of earlier jobs are read through once.
  /// - Returns: the steps removed.
  /// - Throws: `newerFormat`, `checkpointNotReadable`; nothing is removed then.
  @discardableResult
  public func apply(best: Int? = nil, touch: () -> Void = {}) throws(CheckpointError) -> [Int] {
    try store.prune(keepLast: keepLast, keepEvery: keepEvery, best: best) { item throws(CheckpointError) in
      let isKnown = whole.withLock { $0.contains(item.step) }
      guard try CheckpointStore.isWhole(item, sizesOnly: isKnown, touch: touch) else { return false }
      noteWhole(item.step)
      return true
    }
  }
}
