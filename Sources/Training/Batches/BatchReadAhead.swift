import BinaryModel
import Dispatch
import Synchronization

/// The batches of a rank's lanes, step after step, made on a thread of their own ahead of the step that needs them, so that
/// a step waits neither for the disk nor for the tokens. What they hold does not depend on it.
public struct BatchReadAhead<Labels: BatchLabels>: ~Copyable {
  /// Steps whose batches are made before they are taken, and steps whose samples the system is asked to read.
  public static var preparedSteps: Int { 2 }
  public static var prefetchedSteps: Int { 8 }

  private let lanes: Range<Int>
  private let lastStep: Int
  private let prefetch: @Sendable (_ step: Int, _ lane: Int) -> Void
  private let make: @Sendable (_ step: Int, _ lane: Int) throws(TrainingError) -> Batch<Labels>
  private let queue = DispatchQueue(label: "bipft.batches")
  /// The steps on the way, the next one first.
  private var pending: [(step: Int, batches: PendingBatches<Labels>)] = []

  /// Up to the update number `lastStep`.
  ///
  /// - Parameters:
  ///   - prefetch: asks the system for what a lane of a step will read; called on another thread.
  ///   - make: the batch of a lane of a step; called on another thread, step after step and lane after lane.
  public init(
    lanes: Range<Int>, lastStep: Int, prefetch: @escaping @Sendable (_ step: Int, _ lane: Int) -> Void,
    make: @escaping @Sendable (_ step: Int, _ lane: Int) throws(TrainingError) -> Batch<Labels>
  ) {
    self.lanes = lanes
    self.lastStep = lastStep
    self.prefetch = prefetch
    self.make = make
  }

  /// The batches of the update number `step`, from 1; those of the next ones are on their way afterwards.
  ///
  /// - Throws: what `make` throws for this step.
  public mutating func take(step: Int) throws(TrainingError) -> [Batch<Labels>] {
    pending.removeAll { $0.step < step }
    for ahead in step...max(step, min(step + Self.preparedSteps, lastStep)) {
      if pending.last.map({ $0.step < ahead }) ?? true { prepare(ahead) }
    }
    return try pending.removeFirst().batches.wait()
  }

  private mutating func prepare(_ step: Int) {
    let batches = PendingBatches<Labels>()
    pending.append((step, batches))
    let (lanes, prefetch, make) = (lanes, prefetch, make)
    let prefetched = step + Self.prefetchedSteps <= lastStep ? step + Self.prefetchedSteps : nil
    queue.async {
      if let prefetched {
        for lane in lanes { prefetch(prefetched, lane) }
      }
      batches.set(
        Result { () throws(TrainingError) in
          var made: [Batch<Labels>] = []
          for lane in lanes { made.append(try make(step, lane)) }
          return made
        })
    }
  }
}

/// Batches that another thread makes.
private final class PendingBatches<Labels: BatchLabels>: Sendable {
  private let outcome = Mutex<Result<[Batch<Labels>], TrainingError>?>(nil)
  private let isThere = DispatchSemaphore(value: 0)

  func set(_ result: Result<[Batch<Labels>], TrainingError>) {
    outcome.withLock { $0 = result }
    isThere.signal()
  }

  func wait() throws(TrainingError) -> [Batch<Labels>] {
    isThere.wait()
    return try outcome.withLock { $0! }.get()
  }
}
