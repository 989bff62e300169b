import Foundation
import RunSettings
import Tasks
import Telemetry

/// Runs `bipft finetune` with its arguments parsed, on every rank: the run, then on the first rank its summary and the
/// predictions.
///
/// - Returns: how the program is to end.
/// - Throws: `TrainingError`; when several ranks run, the same on all but for what the first rank does after the run.
public func finetune(options: FinetuneOptions) throws(TrainingError) -> ExitCode {
  let folder = try options.runDirectory()
  var run = PretrainOptions(
    configurationFile: "bipft finetune", overrides: options.overrides, runDirectory: folder,
    allowedChanges: options.allowedChanges, triesAgain: options.triesAgain)
  run.program = "bipft"
  let code = try Training.run(run) { try options.configuration() }
  let isFirst = LaunchedRank(environment: ProcessInfo.processInfo.environment).speaks
  guard code == .finished, isFirst else { return code }
  print(try FinetuneSummary(run: folder).text)
  for file in options.predict {
    let predictions = try TaskPredictions(run: folder)
    print("predictions of \(file): \(try predictions.write(file))")
  }
  return code
}

/// What came of a run of fine-tuning, beside what it has to beat.
struct FinetuneSummary {
  private let record: TaskRecord
  private let evaluations: [StepRecord]

  /// - Throws: `TrainingError` where the run's files cannot be read.
  init(run: String) throws(TrainingError) {
    record = try TaskRecord(run: run)
    evaluations = try inModule { () throws(TelemetryError) in
      try MetricsFile.records(path: run + "/metrics.jsonl")
    }.filter { $0.kind == .eval && $0.step > 0 }
  }

  /// A line each: always the same, the bag of tokens, the last evaluation and the best one by the first metric.
  var text: String {
    var lines = [
      "\(record.task), held-out rows:", "  always the same   \(TaskRecord.words(record.majority))",
      "  bag of tokens     \(TaskRecord.words(record.bagOfTokens))",
    ]
    func line(_ name: String, _ record: StepRecord, _ note: String) -> String {
      "  \(name)   \(TaskRecord.words(values(record)))   (step \(record.step)\(note))"
    }
    if let last = evaluations.last { lines.append(line("after the last ", last, "")) }
    let scored = evaluations.compactMap { record in
      values(record).first?.value.map { (record: record, score: $0) }
    }
    // Of equally good ones the first.
    if let best = scored.max(by: { ($0.score, -$0.record.step) < ($1.score, -$1.record.step) })?.record {
      lines.append(
        line("after the best ", best, ", the best of \(evaluations.count), chosen on these same rows"))
    }
    return lines.joined(separator: "\n")
  }

  private func values(_ evaluation: StepRecord) -> [TaskRecord.Value] {
    evaluation.metrics.map { TaskRecord.Value(key: $0.key, Double($0.value)) }
  }
}
