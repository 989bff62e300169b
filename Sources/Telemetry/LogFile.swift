import DurableFiles
import Foundation

/// `log.txt`: what a run told people, a line each with its time (UTC), host, rank and step; appended by every job.
public final class LogFile: RunSink {
  private let path: String
  private let descriptor: Int32
  private let host: String
  private let clock: () -> Double
  private var step: Int
  private var state = ""

  /// Opens the file, made if it is missing.
  ///
  /// - Throws: `TelemetryError.file`.
  public init(
    path: String, host: String, step: Int, clock: @escaping () -> Double = { Date().timeIntervalSince1970 }
  ) throws(TelemetryError) {
    (self.path, self.host, self.step, self.clock) = (path, host, step, clock)
    descriptor = Foundation.open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    if descriptor < 0 { throw .file(.system(operation: "open", path: path, code: errno)) }
  }

  deinit { close(descriptor) }

  public func record(_ record: StepRecord) {
    step = record.step
    if record.kind == .eval { message(ProgressText.evaluation(record)) }
  }

  /// A failure with what failed, since its words go to the terminal by another way.
  public func state(_ state: String, step: Int, reason: String) {
    if state != self.state {
      write(state == "failed" ? "error" : "info", "state \(state)" + (reason.isEmpty ? "" : ": \(reason)"))
    }
    self.state = state
  }

  public func message(_ text: String) { write(text.contains("warning: ") ? "warning" : "info", text) }

  /// One `write` a line; one that cannot be written is left out.
  private func write(_ level: String, _ text: String) {
    let time = Date(timeIntervalSince1970: clock()).formatted(.iso8601)
    let line = text.replacingOccurrences(of: "\n", with: " ")
    try? writeAll(
      Array("\(time) \(level) host=\(host) rank=0 step=\(step) \(line)\n".utf8), to: descriptor, path: path)
  }
}
