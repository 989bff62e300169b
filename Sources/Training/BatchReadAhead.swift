import BinaryModel
import Dispatch
import Synchronization

/// The batches of a rank's lanes, step after step, made on a thread of their own ahead of the step that needs them, so that
/// a step waits neither for the disk nor for the tokens. What they hold does not depend on it.
struct BatchReadAhead: ~Copyable {
  /// Steps whose batches are made before they are taken, and steps whose samples the system is asked to read.
  static let preparedSteps = 2
  static let prefetchedSteps = 8

  private let source: BatchSource
  private let lanes: Range<Int>
  private let lastStep: Int
  private let queue = DispatchQueue(label: "bipft.batches")
  /// The steps on the way, the next one first.
  private var pending: [(step: Int, batches: PendingBatches)] = []

  /// Up to the update number `lastStep`.
  init(_ source: BatchSource, lanes: Range<Int>, lastStep: Int) {
    self.source = source
    self.lanes = lanes
    self.lastStep = lastStep
  }

  /// The batches of the update number `step`, from 1; those of the next ones are on their way afterwards.
  ///
  /// - Throws: what `BatchSource.batch` throws for this step.
  mutating func take(step: Int) throws(TrainingError) -> [Batch] {
    pending.removeAll { $0.step < step }
    for ahead in step...max(step, min(step + Self.preparedSteps, lastStep)) {
      if pending.last.map({ $0.step < ahead }) ?? true { prepare(ahead) }
    }
    return try pending.removeFirst().batches.wait()
  }

  private mutating func prepare(_ step: Int) {
    let batches = PendingBatches()
    pending.append((step, batches))
    let (source, lanes) = (source, lanes)
    let prefetched = step + Self.prefetchedSteps <= lastStep ? step + Self.prefetchedSteps : nil
    queue.async {
      if let prefetched {
        for lane in lanes { source.prefetch(step: prefetched, lane: lane) }
      }
      batches.set(
        Result { () throws(TrainingError) in
          var made: [Batch] = []
          for lane in lanes { made.append(try source.batch(step: step, lane: lane)) }
          return made
        })
    }
  }
}

/// Batches that another thread makes.
private final class PendingBatches: Sendable {
  private let outcome = Mutex<Result<[Batch], TrainingError>?>(nil)
  private let isThere = DispatchSemaphore(value: 0)

  func set(_ result: Result<[Batch], TrainingError>) {
    outcome.withLock { $0 = result }
    isThere.signal()
  }

  func wait() throws(TrainingError) -> [Batch] {
    isThere.wait()
    return try outcome.withLock { $0! }.get()
  }
}
