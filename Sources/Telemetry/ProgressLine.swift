import DurableFiles
import Foundation

/// Shows how a run gets on: on a terminal one line rewritten in place, elsewhere a plain line now and then. Evaluations
/// and messages go above the line. Losses are smoothed over some twenty steps.
///
/// Showing is never a reason to fail: errors of the descriptor are ignored.
public final class ProgressLine: RunSink {
  /// How lines are shown.
  public enum Style: Equatable, Sendable {
    /// Rewritten in place, ten times a second at most, as wide as the terminal is at that moment.
    case terminal(color: Bool)
    /// A line for the first step, then one every `interval` seconds, and one for the last step.
    case plain(interval: Double)

    /// A terminal, perhaps behind mpirun, unless `TERM` is `dumb`; in color unless `NO_COLOR` is set to something. Plain lines come every 10 s.
    public static func detect(descriptor: Int32, environment: [String: String]) -> Style {
      let isTerminal =
        isatty(descriptor) == 1 || LauncherTerminal.path(of: descriptor, environment: environment) != nil
      guard isTerminal, environment["TERM"] != "dumb" else { return .plain(interval: 10) }
      return .terminal(color: (environment["NO_COLOR"] ?? "").isEmpty)
    }
  }

  private let descriptor: Int32
  private let style: Style
  private let steps: Int
  private var timer: StepTimer
  private var losses = SmoothedLosses()
  /// Steps of this job, and the seconds a token of each.
  private var rates: (count: Double, secondsPerToken: Double) = (0, 0)
  private var savedStep: Int?
  /// When a line was last shown.
  private var shown: Double?
  /// The line that stands on the terminal without a line end.
  private var openLine: String?

  /// - Parameters:
  ///   - descriptor: where to write, mostly standard error; stays open.
  ///   - steps: of the whole run.
  public init(descriptor: Int32, style: Style, steps: Int) {
    self.descriptor = descriptor
    self.style = style
    self.steps = steps
    timer = StepTimer()
  }

  public func record(_ record: StepRecord) {
    switch record.kind {
    case .train: update(record, at: ProcessInfo.processInfo.systemUptime)
    case .eval: message(ProgressText.evaluation(record))
    }
  }

  /// Takes note of a training step that ended at time `now`, in seconds of any clock that never goes back.
  public func update(_ record: StepRecord, at now: Double) {
    timer.note(step: record.step, at: now)
    let smoothed = losses.smooth(record)
    if record.tokensPerSecond > 0 {
      rates = (rates.count + 1, rates.secondsPerToken + 1 / record.tokensPerSecond)
    }
    let pause = if case .plain(let interval) = style { interval } else { 0.1 }
    if let shown, now - shown < pause, record.step < steps { return }
    shown = now
    var text = ProgressText(smoothed, steps: steps, secondsLeft: timer.secondsLeft(steps: steps))
    if rates.count > 1 { text.meanTokensPerSecond = rates.count / rates.secondsPerToken }
    text.savedStep = savedStep
    switch style {
    case .plain:
      write(text.line() + "\n")
    case .terminal(let color):
      // The last column stays free: some terminals wrap when it is written.
      let line = text.line(width: Self.columns(of: descriptor) - 1, color: color)
      write("\r\u{1B}[K" + line)
      openLine = line
    }
  }

  public func checkpoint(step: Int) { savedStep = step }

  /// Shows a line of text above the progress line.
  public func message(_ text: String) {
    if let openLine {
      write("\r\u{1B}[K\(text)\n\(openLine)")
    } else {
      write(text + "\n")
    }
  }

  /// Ends the line in place, so that what others print starts on its own.
  public func finish() {
    if openLine != nil { write("\n") }
    openLine = nil
  }

  /// One `write`, so that no other process gets between; the rest only where the system takes less.
  private func write(_ text: String) {
    try? writeAll(Array(text.utf8), to: descriptor, path: "the terminal")
  }

  /// The width of the terminal, or 80 if it does not say.
  private static func columns(of descriptor: Int32) -> Int {
    var size = winsize()
    if ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 { return Int(size.ws_col) }
    guard
      let path = LauncherTerminal.path(of: descriptor, environment: ProcessInfo.processInfo.environment)
    else { return 80 }
    let terminal = open(path, O_RDONLY | O_NOCTTY | O_CLOEXEC)
    defer { close(terminal) }
    guard ioctl(terminal, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
    return Int(size.ws_col)
  }
}

/// Losses as the mean of the first steps, then an exponential one over the last twenty or so.
struct SmoothedLosses {
  private var count: Float = 0
  private var values: [Float] = []

  /// The record with smoothed losses. One that is not finite is shown as it is, and not counted.
  mutating func smooth(_ record: StepRecord) -> StepRecord {
    let latest = [record.loss] + record.losses.map(\.value)
    guard latest.allSatisfy({ $0.isFinite }) else { return record }
    count += 1
    if values.count == latest.count {
      for index in values.indices { values[index] += max(0.05, 1 / count) * (latest[index] - values[index]) }
    } else {
      values = latest
    }
    var smoothed = record
    smoothed.loss = values[0]
    smoothed.losses = zip(record.losses, values.dropFirst()).map { StepRecord.Named($0.key, $1) }
    return smoothed
  }
}

/// The time of a step, smoothed, to tell the time left.
struct StepTimer {
  private var last: (step: Int, time: Double)?
  private var secondsPerStep: Double?
  private var count = 0.0

  /// The mean of the first steps, then an exponential one over the last twenty or so.
  mutating func note(step: Int, at now: Double) {
    defer { last = (step, now) }
    guard let last, step > last.step else { return }
    let latest = (now - last.time) / Double(step - last.step)
    count += 1
    secondsPerStep = secondsPerStep.map { $0 + max(0.05, 1 / count) * (latest - $0) } ?? latest
  }

  func secondsLeft(steps: Int) -> Double? {
    guard let last, let secondsPerStep else { return nil }
    return Double(max(0, steps - last.step)) * secondsPerStep
  }
}

/// The terminal behind mpirun: a rank's standard error is a pipe, but what goes into it comes out at mpirun's own, which
/// often is a terminal.
enum LauncherTerminal {
  /// The device that the launcher's `descriptor` is open on, nil unless this process is a rank whose parent is the
  /// launcher, on a system with /proc, and that device is a terminal.
  static func path(of descriptor: Int32, environment: [String: String]) -> String? {
    guard environment["OMPI_COMM_WORLD_RANK"] != nil else { return nil }
    let link = "/proc/\(getppid())/fd/\(descriptor)"
    guard let target = try? FileManager.default.destinationOfSymbolicLink(atPath: link) else { return nil }
    return target.hasPrefix("/dev/pts/") || target.hasPrefix("/dev/tty") ? target : nil
  }
}
