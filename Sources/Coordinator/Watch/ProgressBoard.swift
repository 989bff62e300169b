import DurableFiles
import Foundation
import Synchronization

/// What the ranks of a job tell each other of where they are: `RUN/progress/rank-5`, one line each, written over and over, so
/// that it works on any shared file system, with a beat that counts on as long as the process runs.
///
/// A thread of its own reads and writes. A file system that does not answer holds it for ever, and nobody else: who asks
/// sees what it brought last, and for how long it has brought nothing.
final class ProgressBoard: Sendable {
  /// What the thread has brought.
  struct View: Sendable {
    /// Seconds since it last came through.
    var silence: Double
    /// The other ranks, in order; nil until it has looked at them.
    var others: [HangDiagnosis.Observation]?
  }

  private struct State {
    var answered = ContinuousClock.now
    var looksAtOthers = false
    var others: [HangDiagnosis.Observation]?
    var isStopped = false
  }

  private let folder: String
  private let rank: Int
  private let size: Int
  private let host: String
  private let interval: Double
  private let progress: RankProgress
  private let state = Mutex(State())
  private let isAsked = DispatchSemaphore(value: 0)
  private let hasEnded = DispatchSemaphore(value: 0)

  /// Begins to publish where this rank is, every `interval` seconds.
  init(run: String, rank: Int, size: Int, host: String, interval: Double, progress: RankProgress) {
    folder = run + "/progress"
    self.rank = rank
    self.size = size
    self.host = host
    self.interval = interval
    self.progress = progress
    Thread.detachNewThread { [self] in
      keep()
      hasEnded.signal()
    }
  }

  /// Seconds without a sign of life after which a rank, or the file system, counts as not answering.
  var patience: Double { 6 * interval }

  /// What is known now.
  ///
  /// - Parameter looksAtOthers: whether to look at the other ranks from now on. Cost: a small file each, every interval.
  func view(looksAtOthers: Bool) -> View {
    state.withLock { state in
      state.looksAtOthers = looksAtOthers
      if !looksAtOthers { state.others = nil }
      return View(silence: state.answered.duration(to: .now) / .seconds(1), others: state.others)
    }
  }

  /// Ends publishing, and takes back what was published; waits for that a moment, not for a file system that hangs.
  func stop() {
    state.withLock { $0.isStopped = true }
    isAsked.signal()
    if hasEnded.wait(timeout: .now() + 2) == .success { hasEnded.signal() }
  }

  private func keep() {
    try? createFolder(folder)
    var looks = LooksAtOthers()
    var beat = 0
    while true {
      let (isStopped, looksAtOthers) = state.withLock { ($0.isStopped, $0.looksAtOthers) }
      if isStopped { break }
      beat += 1
      publish(beat)
      if !looksAtOthers { looks = LooksAtOthers() }
      let others = looksAtOthers ? (0..<size).filter { $0 != rank }.map { look(at: $0, &looks) } : nil
      state.withLock { state in
        state.answered = .now
        if state.looksAtOthers { state.others = others }
      }
      _ = isAsked.wait(timeout: .now() + interval)
    }
    unlink(file(of: rank))
    // The last rank to end succeeds.
    rmdir(folder)
  }

  private func file(of rank: Int) -> String { "\(folder)/rank-\(rank)" }

  /// A full disk or a slow one costs the published place, nothing else.
  private func publish(_ beat: Int) {
    let (place, idle) = progress.now
    let text =
      "\(beat)\t\(Int(idle * 1000))\t\(place.step)\t\(place.phase.rawValue)\t\(place.detail)\t\(host)\n"
    let descriptor = open(file(of: rank), O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
    if descriptor < 0 { return }
    defer { close(descriptor) }
    let bytes = Array(text.utf8)
    guard (try? writeAll(bytes, to: descriptor, at: 0, path: file(of: rank))) != nil else { return }
    ftruncate(descriptor, off_t(bytes.count))
  }

  private func look(at rank: Int, _ looks: inout LooksAtOthers) -> HangDiagnosis.Observation {
    let bytes = try? readFile(file(of: rank))
    return looks.judge(bytes.map { String(decoding: $0, as: UTF8.self) } ?? "", of: rank, dead: patience)
  }
}

/// What a rank remembers of the others from look to look, by its own clock.
struct LooksAtOthers {
  private var beats: [Int: (beat: Int, seen: ContinuousClock.Instant)] = [:]
  private var unseen: [Int: ContinuousClock.Instant] = [:]

  /// What `text`, which `rank` has published, says of it; anything but a line of `ProgressBoard` says nothing.
  ///
  /// - Parameter dead: seconds without a beat after which the rank counts as not running.
  mutating func judge(_ text: String, of rank: Int, dead: Double) -> HangDiagnosis.Observation {
    let now = ContinuousClock.now
    let fields =
      text.split(separator: "\n").first?.split(separator: "\t", omittingEmptySubsequences: false) ?? []
    guard fields.count == 6, let beat = Int(fields[0]), let idle = Int(fields[1]), let step = Int(fields[2]),
      step >= 0, let phase = RankProgress.Phase(rawValue: String(fields[3]))
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
