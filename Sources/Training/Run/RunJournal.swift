import Coordinator
import Foundation
import RunSettings
import Telemetry

/// What rank 0 keeps of a run: its folder, its metrics, and what the user sees.
struct RunJournal: ~Copyable {
  let directory: RunDirectory
  private let history: RunHistory
  /// What `state.json` says of starts without a new checkpoint; nil counts this one.
  private var startsWithoutCheckpoint: Int?
  private var metrics: MetricsFile?
  private var measurements: MeasurementsFile?
  private var progress: ProgressLine
  /// Of the job before, if it ended without a word: the last step that it recorded.
  private let lostStep: Int?
  /// Records that could not be written yet (a full disk): they are tried again with the next one.
  private var pending: [StepRecord] = []

  /// Opens the folder, which this process then holds alone, and counts the start.
  ///
  /// - Parameter again: forgets earlier starts that brought no new checkpoint.
  init(path: String, steps: Int, again: Bool) throws {
    let directory = try RunDirectory(path: path)
    let history = RunHistory(run: path)
    let lostStep = try Self.noteLoss(directory, history)
    try directory.begin(again: again)
    self.directory = directory
    self.history = history
    self.lostStep = lostStep
    if again { startsWithoutCheckpoint = 1 }
    let style = ProgressLine.Style.detect(
      descriptor: STDERR_FILENO, environment: ProcessInfo.processInfo.environment)
    progress = ProgressLine(descriptor: STDERR_FILENO, style: style, steps: steps)
  }

  /// If the job before ended without a word, tells the history so, once, and returns the last step that it recorded.
  private static func noteLoss(_ directory: borrowing RunDirectory, _ history: RunHistory) throws -> Int? {
    guard directory.wasLost, let previous = directory.previous else { return nil }
    let step = max(previous.step, (try? MetricsFile.lastStep(path: directory.path + "/metrics.jsonl")) ?? 0)
    if try !history.events().contains(where: { $0.event == .lost && $0.attempt == previous.attempt }) {
      try history.append(
        RunHistory.Event(
          .lost, step: step, attempt: previous.attempt,
          reason: "ended without a word: killed, or its host failed"))
    }
    return step
  }

  /// The run starts anew, or goes on with `step` updates done, by `ranks` ranks.
  ///
  /// - Parameters:
  ///   - foreign: the checkpoint, if it is one of another run.
  ///   - arithmetic: what computes from now on; `before` computed the checkpoint, nil if that is not known.
  mutating func begin(
    step: Int, isResumed: Bool, foreign: String?, ranks: Int, configuration: String, arithmetic: Arithmetic,
    before: Arithmetic?
  ) throws {
    try directory.writeConfiguration(configuration)
    if directory.stateWasLost {
      message(
        "warning: state.json was lost or damaged; it is written anew, from the checkpoints and history.jsonl")
    }
    if let lostStep {
      message("the job before ended without a word after step \(lostStep) (killed, or its host failed)")
    }
    if let warning = before?.warning(goingOnWith: arithmetic) { message("warning: \(warning)") }
    if isResumed {
      // What the run goes back over, chosen or damaged, never comes back: what `auto` finds later is of the present course.
      // Before the metrics forget their steps: a crash in between must not leave a checkpoint without them.
      let steps = try CheckpointStore(path: directory.checkpointsPath).setAside(after: step)
      if !steps.isEmpty {
        message(
          "checkpoints of later steps are set aside (.replaced): "
            + steps.map(String.init).joined(separator: ", "))
      }
    }
    let path = directory.path + "/metrics.jsonl"
    // Before the metrics forget the steps that are done again.
    let reached = try MetricsFile.lastStep(path: path) ?? 0
    try history.append(
      RunHistory.Event(
        .start, step: step, reached: max(step, reached), ranks: ranks, from: foreign, arithmetic: arithmetic))
    metrics = try MetricsFile(path: path, resumingAfter: isResumed ? step : nil)
    measurements = try MeasurementsFile(path: directory.path + "/measurements.jsonl", isResumed: isResumed)
    record(.running, step: step)
  }

  /// The step that the run had come to before this start, as far as its state told.
  var lastStep: Int { directory.previous?.step ?? 0 }

  /// The step was left out.
  mutating func skipped(step: Int, reason: String) {
    message("warning: step \(step) skipped: \(reason)")
    note(RunHistory.Event(.skipped, step: step, reason: reason))
  }

  /// A new checkpoint is there.
  mutating func checkpointWritten(step: Int) {
    startsWithoutCheckpoint = 0
    record(.running, step: step)
  }

  /// The job ends in order, saved.
  mutating func end(_ status: RunState.Status, step: Int, reason: String, _ text: String) {
    startsWithoutCheckpoint = 0
    note(RunHistory.Event(.end, step: step, reason: reason.isEmpty ? status.rawValue : reason))
    record(status, step: step, reason: reason)
    message(text)
    finish()
  }

  /// The job fails. One that a person has to mend first does not count as a start.
  mutating func fail(step: Int, _ error: any Error) {
    if TrainingError.exitCode(of: error) == .doNotRestart {
      startsWithoutCheckpoint =
        startsWithoutCheckpoint == 0 ? 0 : directory.previous?.startsWithoutCheckpoint ?? 0
    }
    record(.failed, step: step, reason: "\(error)")
    finish()
  }

  private mutating func note(_ event: RunHistory.Event) {
    do throws(RunFolderError) { try history.append(event) } catch { message("warning: \(error)") }
  }

  /// Shows a record and appends it to the metrics. A write error is told once and does not end the run.
  mutating func record(_ record: StepRecord) {
    switch record.kind {
    case .train: progress.update(record, at: ProcessInfo.processInfo.systemUptime)
    case .eval: progress.evaluation(record)
    }
    measurements?.append(record)
    pending.append(record)
    do {
      try flush()
    } catch {
      if pending.count == 1 { message("warning: \(error); the run goes on and tries again") }
    }
  }

  /// Writes what a full disk has kept back.
  mutating func flush() throws {
    while let record = pending.first {
      try metrics?.append(record)
      pending.removeFirst()
    }
  }

  /// A line for the user.
  mutating func message(_ text: String) { progress.message("bipft-pretrain: " + text) }

  /// Writes `state.json`; a failure to do so is told.
  private mutating func record(_ status: RunState.Status, step: Int, reason: String = "") {
    do {
      try directory.record(
        status, step: step, reason: reason, startsWithoutCheckpoint: startsWithoutCheckpoint)
    } catch {
      message("warning: \(error)")
    }
  }

  private mutating func finish() { progress.finish() }
}
