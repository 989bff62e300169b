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
  /// Who is told how the run gets on: the progress line, and from `begin` on the files.
  private var sinks: [any RunSink]
  /// The sinks that could not write at the last record, which was told.
  private var hindered: Set<Int> = []
  /// What was told before there was a log, for it; nil from then on.
  private var early: [String]? = []
  /// Whose messages these are.
  private let program: String
  /// Of the job before, if it ended without a word: the last step that it recorded.
  private let lostStep: Int?

  /// Opens the folder, which this process then holds alone, and counts the start of `program`.
  ///
  /// - Parameter again: forgets earlier starts that brought no new checkpoint.
  /// - Parameter isQuiet: shows neither progress nor messages.
  init(path: String, steps: Int, again: Bool, program: String, isQuiet: Bool) throws {
    let directory = try RunDirectory(path: path)
    let history = RunHistory(run: path)
    let lostStep = try Self.noteLoss(directory, history)
    try directory.begin(again: again)
    self.directory = directory
    self.history = history
    self.lostStep = lostStep
    self.program = program
    if again { startsWithoutCheckpoint = 1 }
    let style = ProgressLine.Style.detect(
      descriptor: STDERR_FILENO, environment: ProcessInfo.processInfo.environment)
    sinks = isQuiet ? [] : [ProgressLine(descriptor: STDERR_FILENO, style: style, steps: steps)]
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

  /// The run starts anew, or goes on with `step` updates done, by the ranks on `hosts`.
  ///
  /// - Parameters:
  ///   - foreign: the checkpoint, if it is one of another run.
  ///   - arithmetic: what computes from now on; `before` computed the checkpoint, nil if that is not known.
  mutating func begin(
    step: Int, isResumed: Bool, foreign: String?, hosts: [String], configuration: RunConfiguration,
    arithmetic: Arithmetic, before: Arithmetic?
  ) throws {
    try directory.writeConfiguration(configuration.canonicalText)
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
    let before = max(reached, lastStep)
    if !isResumed, before > 0 {
      message("warning: the run had come to step \(before) and has no checkpoint: it starts over from step 0")
    } else if isResumed, foreign == nil, reached < step, !comesFromAnother(step) {
      message(
        "warning: metrics.jsonl was lost or cut: it has no steps \(reached + 1) to \(step), which the checkpoint has done; put "
          + "back a copy of it, or they stay missing (bipft schedule --audit names them)")
    }
    try history.append(
      RunHistory.Event(
        .start, step: step, reached: max(step, reached), ranks: hosts.count,
        hosts: hosts.enumerated().filter { !hosts[..<$0].contains($1) }.map(\.element), from: foreign,
        arithmetic: arithmetic))
    sinks += [
      try MetricsFile(path: path, resumingAfter: isResumed ? step : nil),
      try MeasurementsFile(path: directory.path + "/measurements.jsonl", isResumed: isResumed),
    ]
    addViews(
      RunDescription(configuration, run: directory.path, step: step), isResumed: isResumed, host: hosts[0])
    record(.running, step: step)
  }

  /// Adds what no checkpoint counts on. One that cannot be opened is told, and left out.
  private mutating func addViews(_ run: RunDescription, isResumed: Bool, host: String) {
    sinks.append(PrometheusFile(path: directory.path + "/metrics.prom", run: run))
    do throws(TelemetryError) {
      let log = try LogFile(path: directory.path + "/log.txt", host: host, step: run.step)
      for text in early ?? [] { log.message(text) }
      sinks.append(log)
    } catch { message("warning: \(error); the run goes on without its log") }
    early = nil
    do throws(TelemetryError) {
      sinks.append(
        try VitalsFile(path: directory.path + "/vitals.jsonl", resumingAfter: isResumed ? run.step : nil))
    } catch { message("warning: \(error); the run goes on without vital signs") }
    do throws(TelemetryError) {
      sinks.append(try EventFile(folder: directory.path + "/events", run: run, isResumed: isResumed))
    } catch { message("warning: \(error); the run goes on without events for TensorBoard") }
  }

  /// Whether the run's first steps, up to `step` or later, are those of another run, of which its metrics do not tell.
  private func comesFromAnother(_ step: Int) -> Bool {
    ((try? history.events()) ?? []).contains { $0.event == .start && $0.from != nil && $0.step >= step }
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
    for sink in sinks { sink.checkpoint(step: step) }
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

  /// Tells all sinks of a record. What one cannot write is told once, does not end the run, and is tried again.
  mutating func record(_ record: StepRecord) {
    for sink in sinks { sink.record(record) }
    flushOrTell()
  }

  /// Tells all sinks of vital signs, as `record`.
  mutating func record(_ vitals: VitalSigns) {
    for sink in sinks { sink.vitals(vitals) }
    flushOrTell()
  }

  private mutating func flushOrTell() {
    var isHindered = false
    for (index, sink) in sinks.enumerated() {
      do throws(TelemetryError) { try sink.flush() } catch {
        if !hindered.contains(index) { message("warning: \(error); the run goes on and tries again") }
        hindered.insert(index)
        isHindered = true
      }
    }
    if !isHindered { hindered = [] }
  }

  /// Writes what a full disk has kept back of the files that a checkpoint counts on.
  func flush() throws(TelemetryError) {
    for sink in sinks where sink is MetricsFile { try sink.flush() }
  }

  /// A line for the user.
  mutating func message(_ text: String) {
    let line = "\(program): \(text)"
    early?.append(line)
    for sink in sinks { sink.message(line) }
  }

  /// Writes `state.json`; a failure to do so is told.
  private mutating func record(_ status: RunState.Status, step: Int, reason: String = "") {
    do {
      try directory.record(
        status, step: step, reason: reason, startsWithoutCheckpoint: startsWithoutCheckpoint)
    } catch {
      message("warning: \(error)")
    }
    for sink in sinks { sink.state(status.rawValue, step: step, reason: reason) }
  }

  private func finish() {
    for sink in sinks { sink.finish() }
  }
}

extension RunDescription {
  /// - Parameters:
  ///   - run: the folder.
  ///   - step: updates done before this job.
  init(_ configuration: RunConfiguration, run: String, step: Int) {
    self.init(
      name: URL(fileURLWithPath: run).lastPathComponent, steps: configuration.training.steps, step: step,
      tokensPerStep: configuration.training.globalBatch * configuration.data.sequenceLength,
      settings: configuration.settings.map { ($0.key, $0.value) })
  }
}
