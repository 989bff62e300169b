import Coordinator
import Foundation
import RunSettings
import Telemetry

/// Replays the whole history of a run and proves that every sample came exactly once an epoch, or names what did not.
///
/// The history (`history.jsonl`) says where each job went on and how far it got, so which steps were lost and done again;
/// the metrics hold the steps that count, each with the running hash of the samples up to it. The audit computes schedule and
/// hash anew from the run's configuration and corpus, and counts every sample of every step that counts.
public struct RunAudit: Sendable {
  /// For people, a line each: what was found.
  public private(set) var lines: [String] = []
  /// What is wrong, a line each.
  public private(set) var faults: [String] = []
  /// Every step was done once, with the samples of the schedule, and no sample twice in an epoch.
  public var isExact: Bool { faults.isEmpty }

  /// Reads the run in the folder `run`; it may be in progress.
  ///
  /// - Parameter corpus: the folder of the corpus, if it is not where the run's configuration says.
  /// - Throws: `TrainingError` where the run, its configuration or its corpus cannot be read.
  /// - Cost: the schedule and the pairs of every step; a byte for each sample of an epoch, a bit for each token.
  public init(run: String, corpus: String? = nil) throws(TrainingError) {
    let found = try inModule { () throws(RunFolderError) in try RunDirectory.identify(run) }
    guard found != nil else { throw .module(RunFolderError.noRun(path: run)) }
    let configuration = try inModule { () throws(ConfigurationError) in
      try RunConfiguration.load(
        file: run + "/config.yaml", isStored: true, overrides: corpus.map { ["data.corpus=\"\($0)\""] } ?? [])
    }
    let inputs = try Objectives.inputs(configuration)
    let schedule = inputs.schedule
    let events = try inModule { () throws(RunFolderError) in try RunHistory(run: run).events() }
    let records = try inModule { () throws(TelemetryError) in
      try MetricsFile.records(path: run + "/metrics.jsonl")
    }.filter { $0.kind == .train }
    let course = checkStarts(events, last: records.last?.step ?? 0)
    let foreign = events.filter { $0.event == .start && $0.from != nil }
    let told = max(records.last?.step ?? 0, foreign.last?.step ?? 0)
    if told < course { faults.append("gap: steps \(told + 1) to \(course) are missing in metrics.jsonl") }
    let reached = events.map { max($0.step, $0.reached ?? 0) }.max() ?? 0
    let steps = checkSteps(
      records, schedule, foreign: foreign, last: max(reached, configuration.training.steps))
    countSamples(steps, schedule)
    try countTokens(steps, schedule, inputs.makeCoverage())
    if isExact { lines.append("exact: every step was done once, and no sample came twice in an epoch") }
  }

  /// Each job went on from a step that an earlier one had reached. Returns the last step that the present course has done, as
  /// far as the history tells.
  private mutating func checkStarts(_ events: [RunHistory.Event], last: Int) -> Int {
    var (reached, redone, jobs) = (0, 0, 0)
    var worlds: [Int] = []
    for event in events {
      switch event.event {
      case .start:
        jobs += 1
        if let ranks = event.ranks, worlds.last != ranks { worlds.append(ranks) }
        let before = jobs == 1 ? event.step : max(reached, event.reached ?? 0)
        if let other = event.from ?? (jobs == 1 && event.step > 0 ? "another run" : nil) {
          lines.append("job \(jobs) goes on from step \(event.step) of \(other), which is not audited")
        } else if event.step > before {
          faults.append(
            "gap: a job started after step \(event.step), but those before reached only step \(before)")
        }
        redone += max(0, before - event.step)
        reached = event.step
      case .skipped, .end, .lost: reached = max(reached, event.step)
      }
    }
    if jobs == 0 { faults.append("\(RunHistory.fileName) tells of no job") }
    let sizes = worlds.map(String.init).joined(separator: ", then ")
    lines.append(
      "\(jobs) job\(jobs == 1 ? "" : "s") on \(sizes) rank\(worlds == [1] ? "" : "s"), \(last) steps that count, "
        + "\(redone) done again after a loss, \(events.count { $0.event == .skipped }) times a step was skipped"
    )
    let lost = events.count { $0.event == .lost }
    if lost > 0 {
      lines.append("\(lost) job\(lost == 1 ? "" : "s") ended without a word (killed, or a host failed)")
    }
    return reached
  }

  /// Every step once and in order, with the running hash of the schedule. Returns the steps that hold.
  ///
  /// - Parameters:
  ///   - foreign: jobs that went on from a checkpoint of another run, which did the steps before.
  ///   - last: the most steps that the run can have done.
  private mutating func checkSteps(
    _ records: [StepRecord], _ schedule: Schedule, foreign: [RunHistory.Event], last: Int
  ) -> [Int] {
    var steps: [Int] = []
    var (next, history, isTold) = (1, "", false)
    for record in records {
      if record.step < next {
        faults.append("duplicate: step \(record.step) stands twice in metrics.jsonl")
        continue
      }
      if record.step > last {
        faults.append("metrics.jsonl tells of step \(record.step), the run has done no more than \(last)")
        continue
      }
      if record.step > next, !foreign.contains(where: { $0.step == record.step - 1 }) {
        faults.append("gap: steps \(next) to \(record.step - 1) are missing in metrics.jsonl")
      }
      for step in next...record.step { history = schedule.history(after: history, step: step - 1) }
      next = record.step + 1
      if record.extras.first(where: { $0.key == "samples" })?.value == .text(String(history.prefix(16))) {
        steps.append(record.step)
      } else if !isTold {
        isTold = true
        faults.append(
          "from step \(record.step) on the samples are not those of the schedule: another corpus, seed or batch size, or a version "
            + "of bipft that draws other samples"
        )
      }
    }
    return steps
  }

  /// Counts each sample in each epoch.
  private mutating func countSamples(_ steps: [Int], _ schedule: Schedule) {
    var seen = [Bool](repeating: false, count: schedule.sampleCount)
    var (epoch, distinct, epochSteps) = (UInt32(0), 0, 0)
    var whole = 0
    func close(_ audit: inout RunAudit) {
      if epochSteps == schedule.stepsPerEpoch {
        whole += 1
        let wanted = schedule.sampleCount - schedule.tail
        if distinct != wanted {
          audit.faults.append("epoch \(epoch): \(distinct) samples came instead of \(wanted)")
        }
      }
    }
    for step in steps {
      let current = schedule.epoch(step: step - 1)
      if current != epoch {
        close(&self)
        seen = [Bool](repeating: false, count: schedule.sampleCount)
        (epoch, distinct, epochSteps) = (current, 0, 0)
      }
      epochSteps += 1
      for lane in 0..<schedule.lanes {
        for index in 0..<schedule.microBatch {
          let sample = Int(schedule.sample(step: step - 1, lane: lane, index: index).sample)
          if seen[sample] {
            faults.append("duplicate: sample \(sample) came twice in epoch \(epoch), again in step \(step)")
          } else {
            seen[sample] = true
            distinct += 1
          }
        }
      }
    }
    close(&self)
    let rest = epochSteps == schedule.stepsPerEpoch ? 0 : epochSteps
    lines.append(
      "\(whole) whole epoch\(whole == 1 ? "" : "s") of \(schedule.sampleCount - schedule.tail) samples "
        + "(\(schedule.tail) are left out of each), and \(rest) step\(rest == 1 ? "" : "s") of the next")
  }

  /// Counts the tokens that were trained on.
  private mutating func countTokens(
    _ steps: [Int], _ schedule: Schedule, _ coverage: (any SampleCoverage)?
  ) throws(TrainingError) {
    guard var coverage else { return }
    for step in steps { try coverage.add(step: step, of: schedule) }
    lines.append(
      "\(coverage.seenCount) of the corpus' \(coverage.tokenCount) training tokens were trained on "
        + "(\(coverage.percentage))")
  }
}
