import Collectives
import DurableFiles
import Foundation
import Synchronization

/// Ends a job that makes no progress, and says which rank holds it up.
///
/// A thread of each rank looks at how far the rank has come. One that has stood still for half of the time looks at what the
/// others publish (`ProgressBoard`); if none has moved for all of it, the lowest rank that is alive ends the job. The thread
/// itself never waits for a file: where the folder of the run does not answer, it says so and ends the job all the same.
public final class Watchdog: Sendable {
  private let program: String
  private let run: String
  private let rank: Int
  private let size: Int
  private let host: String
  private let timeout: Double
  /// Seconds from one look to the next.
  private let interval: Double
  private let progress: RankProgress
  private let board: ProgressBoard
  private let end: @Sendable (HangDiagnosis) -> Void
  private let isStopped = Atomic(false)
  private let isAsked = DispatchSemaphore(value: 0)

  /// Begins to watch.
  ///
  /// - Parameters:
  ///   - program: whose message it is.
  ///   - run: the run's folder, the same for all ranks.
  ///   - timeout: seconds without progress of any rank, above 0.
  ///   - end: called on the speaker's watchdog thread when the job hangs, after `state.json` has been written, or has kept
  ///     it waiting for too long.
  public init(
    program: String, run: String, rank: Int, size: Int, host: String, timeout: Int, progress: RankProgress,
    end: @escaping @Sendable (HangDiagnosis) -> Void
  ) {
    precondition(timeout > 0, "a watchdog that ends the job after \(timeout) s")
    self.program = program
    self.run = run
    self.rank = rank
    self.size = size
    self.host = host
    self.timeout = Double(timeout)
    interval = min(5, max(0.05, Double(timeout) / 20))
    self.progress = progress
    self.end = end
    board = ProgressBoard(
      run: run, rank: rank, size: size, host: host, interval: interval, progress: progress)
    Thread.detachNewThread { [self] in watch() }
  }

  /// Ends watching, and takes back what was published.
  public func stop() {
    isStopped.store(true, ordering: .relaxed)
    isAsked.signal()
    board.stop()
  }

  private func watch() {
    var last = ContinuousClock.now
    while true {
      _ = isAsked.wait(timeout: .now() + interval)
      if isStopped.load(ordering: .relaxed) { return }
      // A job that was suspended as a whole has not hung meanwhile.
      if last.duration(to: .now) / .seconds(1) > max(2, 8 * interval) { progress.touch() }
      last = .now
      guard let hang = judge(), hang.speaker == rank else { continue }
      finish(hang)
      return
    }
  }

  /// Whether the job hangs, as far as this rank can tell.
  private func judge() -> HangDiagnosis? {
    let (place, idle) = progress.now
    let view = board.view(looksAtOthers: idle >= timeout / 2)
    guard idle >= timeout / 2 else { return nil }
    let own = HangDiagnosis.Observation(rank: rank, host: host, place: place, idle: idle, isAlive: true)
    if view.silence >= board.patience {
      return HangDiagnosis(alone: own, silentFolder: run, silence: view.silence, timeout: timeout)
    }
    guard let others = view.others else { return nil }
    return HangDiagnosis(Array(others[..<rank] + [own] + others[rank...]), timeout: timeout)
  }

  private func finish(_ hang: HangDiagnosis) {
    let reason = "\(hang.reason): no progress for \(Int(timeout)) s (hang_timeout), so the job ends"
    let isTold = DispatchSemaphore(value: 0)
    Thread.detachNewThread { [program, run] in
      let line = Array("\(program): \(reason)\n".utf8)
      _ = write(STDERR_FILENO, line, line.count)
      // The state is for whatever restarts the job; that it cannot be written must not keep the job from ending.
      try? RunDirectory.recordHang(run, step: max(0, hang.step - 1), reason: reason)
      isTold.signal()
    }
    _ = isTold.wait(timeout: .now() + min(10, timeout))
    end(hang)
  }
}
