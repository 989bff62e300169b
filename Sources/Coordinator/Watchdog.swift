import Collectives
import DurableFiles
import Foundation
import Synchronization

/// Ends a job that makes no progress, and says which rank holds it up.
///
/// A thread of each rank publishes where the rank is (`RUN/progress/rank-5`: one line, written over and over, so that it
/// works on any shared file system) with a beat that counts on as long as the process runs. A rank that has stood still for
/// half of the time looks at what the others publish; if none has moved for all of it, the lowest rank that is alive ends
/// the job.
public final class Watchdog: Sendable {
  private let run: String
  private let rank: Int
  private let size: Int
  private let host: String
  private let timeout: Double
  /// Seconds from one look to the next.
  private let interval: Double
  private let progress: RankProgress
  private let end: @Sendable (HangDiagnosis) -> Void
  private let isStopped = Mutex(false)

  /// Begins to watch.
  ///
  /// - Parameters:
  ///   - run: the run's folder, the same for all ranks.
  ///   - timeout: seconds without progress of any rank, above 0.
  ///   - end: called on the speaker's watchdog thread when the job hangs, after `state.json` has been written.
  public init(
    run: String, rank: Int, size: Int, host: String, timeout: Int, progress: RankProgress,
    end: @escaping @Sendable (HangDiagnosis) -> Void
  ) {
    precondition(timeout > 0, "a watchdog that ends the job after \(timeout) s")
    self.run = run
    self.rank = rank
    self.size = size
    self.host = host
    self.timeout = Double(timeout)
    interval = min(5, max(0.05, Double(timeout) / 20))
    self.progress = progress
    self.end = end
    mkdir(folder, 0o755)
    Thread.detachNewThread { [self] in watch() }
  }

  private var folder: String { run + "/progress" }
  private func file(of rank: Int) -> String { "\(folder)/rank-\(rank)" }

  /// Ends watching, and takes back what was published.
  public func stop() {
    isStopped.withLock { stopped in
      stopped = true
      unlink(file(of: rank))
    }
    // The last rank to end succeeds.
    rmdir(folder)
  }

  private func watch() {
    var beat = 0
    var looks = LooksAtOthers()
    var last = ContinuousClock.now
    while true {
      usleep(UInt32(interval * 1e6))
      // A job that was suspended as a whole has not hung meanwhile.
      if last.duration(to: .now) / .seconds(1) > max(2, 8 * interval) { progress.touch() }
      last = .now
      let (place, idle) = progress.now
      beat += 1
      let isStopped = isStopped.withLock { stopped in
        if !stopped { publish(place, idle: idle, beat: beat) }
        return stopped
      }
      if isStopped { return }
      guard idle >= timeout / 2 else {
        looks = LooksAtOthers()
        continue
      }
      let own = HangDiagnosis.Observation(rank: rank, host: host, place: place, idle: idle, isAlive: true)
      let all = (0..<size).map { $0 == rank ? own : looks.look(at: $0, file(of: $0), dead: 6 * interval) }
      guard let hang = HangDiagnosis(all, timeout: timeout), hang.speaker == rank else { continue }
      let reason = "\(hang.reason): no progress for \(Int(timeout)) s (hang_timeout), so the job ends"
      // The state is for whatever restarts the job; that it cannot be written must not keep the job from ending.
      try? RunDirectory.recordHang(run, step: max(0, hang.step - 1), reason: reason)
      FileHandle.standardError.write(Data("bipft-pretrain: \(reason)\n".utf8))
      end(hang)
      return
    }
  }

  /// A full disk or a slow one costs the published place, nothing else.
  private func publish(_ place: RankProgress.Place, idle: Double, beat: Int) {
    let text =
      "\(beat)\t\(Int(idle * 1000))\t\(place.step)\t\(place.phase.rawValue)\t\(place.detail)\t\(host)\n"
    let descriptor = open(file(of: rank), O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
    if descriptor < 0 { return }
    defer { close(descriptor) }
    let bytes = Array(text.utf8)
    guard (try? writeAll(bytes, to: descriptor, at: 0, path: file(of: rank))) != nil else { return }
    ftruncate(descriptor, off_t(bytes.count))
  }
}

/// What a rank remembers of the others from look to look, by its own clock.
private struct LooksAtOthers {
  private var beats: [Int: (beat: Int, seen: ContinuousClock.Instant)] = [:]
  private var unseen: [Int: ContinuousClock.Instant] = [:]

  /// - Parameter dead: seconds without a beat after which the rank counts as not running.
  mutating func look(at rank: Int, _ path: String, dead: Double) -> HangDiagnosis.Observation {
    let now = ContinuousClock.now
    let fields =
      ((try? readFile(path)).map { String(decoding: $0, as: UTF8.self) } ?? "")
      .split(separator: "\n").first?.split(separator: "\t", omittingEmptySubsequences: false) ?? []
    guard fields.count == 6, let beat = Int(fields[0]), let idle = Int(fields[1]), let step = Int(fields[2]),
      let phase = RankProgress.Phase(rawValue: String(fields[3]))
    else {
      // It has published nothing yet, or its host does not share the folder.
      let since = unseen[rank] ?? now
      unseen[rank] = since
      return HangDiagnosis.Observation(
        rank: rank, host: "host unknown", place: RankProgress.Place(step: 0, phase: .starting),
        idle: .infinity, isAlive: since.duration(to: now) / .seconds(1) < dead)
    }
    if beats[rank]?.beat != beat { beats[rank] = (beat, now) }
    let silence = (beats[rank]?.seen ?? now).duration(to: now) / .seconds(1)
    return HangDiagnosis.Observation(
      rank: rank, host: String(fields[5]),
      place: RankProgress.Place(step: step, phase: phase, detail: String(fields[4])),
      idle: Double(idle) / 1000 + silence, isAlive: silence < dead)
  }
}
