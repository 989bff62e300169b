import Coordinator
import Foundation
import Telemetry

/// What rank 0 keeps of a run: its folder, its metrics, and what the user sees.
struct RunJournal: ~Copyable {
  let directory: RunDirectory
  private var metrics: MetricsFile?
  private var progress: ProgressLine
  /// Records that could not be written yet (a full disk): they are tried again with the next one.
  private var pending: [StepRecord] = []

  /// Opens the folder, which this process then holds alone.
  init(path: String, steps: Int) throws {
    directory = try RunDirectory(path: path)
    let style = ProgressLine.Style.detect(
      descriptor: STDERR_FILENO, environment: ProcessInfo.processInfo.environment)
    progress = ProgressLine(descriptor: STDERR_FILENO, style: style, steps: steps)
  }

  /// The run starts anew, or goes on with `step` updates done.
  mutating func begin(step: Int, isResumed: Bool, configuration: String) throws {
    try directory.begin()
    try directory.writeConfiguration(configuration)
    metrics = try MetricsFile(path: directory.path + "/metrics.jsonl", resumingAfter: isResumed ? step : nil)
    try directory.record(.running, step: step)
  }

  /// Shows a record and appends it to the metrics. A write error is told once and does not end the run.
  mutating func record(_ record: StepRecord) {
    switch record.kind {
    case .train: progress.update(record, at: ProcessInfo.processInfo.systemUptime)
    case .eval: progress.evaluation(record)
    }
    pending.append(record)
    do {
      try flush()
    } catch {
      if pending.count == 1 { message("warning: \(error); the run goes on and tries again") }
    }
  }

  /// Makes all records so far durable.
  mutating func synchronise() throws {
    try flush()
    try metrics?.synchronise()
  }

  private mutating func flush() throws {
    while let record = pending.first {
      try metrics?.append(record)
      pending.removeFirst()
    }
  }

  /// A line for the user.
  mutating func message(_ text: String) { progress.message("bipft-pretrain: " + text) }

  /// Writes `state.json`; a failure to do so is told.
  mutating func record(_ status: RunState.Status, step: Int, reason: String = "") {
    do {
      try directory.record(status, step: step, reason: reason)
    } catch {
      message("warning: \(error)")
    }
  }

  mutating func finish() { progress.finish() }
}
