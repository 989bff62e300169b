import Foundation
import Synchronization

/// Work on a thread of its own, with a result that can be looked for or waited for.
final class BackgroundTask<Value: Sendable>: Sendable {
  private let result = Mutex<Result<Value, CheckpointError>?>(nil)
  private let hasEnded = DispatchSemaphore(value: 0)

  /// Starts `body` at once.
  init(_ body: @escaping @Sendable () throws(CheckpointError) -> Value) {
    Thread.detachNewThread { [self] in
      let own = Result { () throws(CheckpointError) in try body() }
      result.withLock { $0 = own }
      hasEnded.signal()
    }
  }

  /// nil while it runs.
  var outcome: Result<Value, CheckpointError>? { result.withLock { $0 } }

  /// Returns when it has ended.
  func wait() {
    hasEnded.wait()
    hasEnded.signal()
  }
}
