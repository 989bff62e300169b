import DurableFiles
import Foundation

/// `metrics.prom`: how the run is, for the textfile collector of Prometheus' node exporter. Replaced whole, by rename, at most every
/// few seconds, and when the state changes. No timestamps: the collector refuses them; the time of the last step is a metric.
public final class PrometheusFile: RunSink {
  private let path: String
  private let run: RunDescription
  private let clock: () -> Double
  /// Seconds from one writing to the next.
  private let interval: Double
  private var written = -Double.infinity
  private var isDue = false
  private var state = "running"
  private var last: (record: StepRecord, time: Double)?
  private var evaluation: StepRecord?
  private var savedStep: (step: Int, time: Double)?
  private var skipped = 0
  private var step: Int

  /// The states that a job can tell of. One that is killed or hung tells nothing more: its last step grows old.
  static let states = ["running", "finished", "preempted", "failed"]

  /// - Parameter clock: seconds since 1970.
  public init(
    path: String, run: RunDescription, interval: Double = 5,
    clock: @escaping () -> Double = { Date().timeIntervalSince1970 }
  ) {
    (self.path, self.run, self.interval, self.clock) = (path, run, interval, clock)
    step = run.step
  }

  public func record(_ record: StepRecord) {
    if record.kind == .train {
      last = (record, clock())
      step = record.step
      if record.extras.contains(where: { $0.key == "skipped" }) { skipped += 1 }
    } else {
      evaluation = record
    }
    isDue = true
  }

  public func checkpoint(step: Int) { savedStep = (step, clock()) }

  public func state(_ state: String, step: Int, reason: String) {
    self.state = state
    self.step = max(self.step, step)
    isDue = true
    written = -.infinity
  }

  public func flush() throws(TelemetryError) {
    guard isDue, clock() - written >= interval else { return }
    try files { () throws(FileError) in try replaceFileQuickly(path, with: Array(text.utf8)) }
    written = clock()
    isDue = false
  }

  public func finish() {
    written = -.infinity
    isDue = true
    try? flush()
  }

  /// The text of the file (Prometheus' exposition format 0.0.4).
  var text: String {
    var out = ""
    func metric(_ name: String, _ type: String, _ help: String, _ samples: [(labels: String, value: Double)])
    {
      if samples.isEmpty { return }
      out += "# HELP bipft_\(name) \(help)\n# TYPE bipft_\(name) \(type)\n"
      for sample in samples {
        out +=
          "bipft_\(name){run=\"\(Self.escaped(run.name))\"\(sample.labels)} \(Self.number(sample.value))\n"
      }
    }
    func one(_ value: Double?) -> [(labels: String, value: Double)] { value.map { [("", $0)] } ?? [] }
    func named(_ label: String, _ numbers: [StepRecord.Named]) -> [(labels: String, value: Double)] {
      numbers.map { (",\(label)=\"\($0.key)\"", Double($0.value)) }
    }
    metric(
      "state", "gauge", "1 for the state that the run is in.",
      Self.states.map { (",state=\"\($0)\"", $0 == state ? 1 : 0) })
    metric("step", "gauge", "Updates done.", one(Double(step)))
    metric("steps", "gauge", "Updates of the whole run.", one(Double(run.steps)))
    metric("tokens_total", "counter", "Tokens read, padding included.", one(Double(step * run.tokensPerStep)))
    metric(
      "skipped_steps_total", "counter",
      "Steps that this job left out, since loss or gradient was not usable.",
      one(Double(skipped)))
    metric("loss", "gauge", "Loss of the last update.", one(last.map { Double($0.record.loss) }))
    metric("loss_term", "gauge", "What the loss is the sum of.", named("term", last?.record.losses ?? []))
    metric(
      "loss_is_finite", "gauge", "1 where the last loss is a finite number.",
      one(last.map { $0.record.loss.isFinite ? 1 : 0 }))
    metric(
      "learning_rate", "gauge", "Learning rate of the last update.",
      one(last?.record.learningRate.map(Double.init)))
    metric(
      "gradient_norm", "gauge", "Norm of the last gradient before clipping.",
      one(last?.record.gradientNorm.map(Double.init)))
    metric(
      "tokens_per_second", "gauge", "Tokens a second of the last update.",
      one(last?.record.tokensPerSecond))
    metric(
      "evaluation", "gauge", "What the last evaluation found.",
      named("metric", (evaluation?.losses ?? []) + (evaluation?.metrics ?? [])))
    metric(
      "evaluation_step", "gauge", "The step of the last evaluation.", one(evaluation.map { Double($0.step) }))
    metric(
      "last_step_timestamp_seconds", "gauge", "When the last update of this job ended, since 1970.",
      one(last?.time))
    metric(
      "last_checkpoint_step", "gauge", "The step of the last checkpoint of this job.",
      one(savedStep.map { Double($0.step) }))
    metric(
      "last_checkpoint_timestamp_seconds", "gauge", "When it was there, since 1970.", one(savedStep?.time))
    return out
  }

  private static func number(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
    return value == value.rounded() && abs(value) < 1e15 ? "\(Int(value))" : "\(value)"
  }

  private static func escaped(_ label: String) -> String {
    label.replacingOccurrences(of: "\\", with: "\\\\").replacingOccurrences(of: "\"", with: "\\\"")
      .replacingOccurrences(of: "\n", with: "\\n")
  }
}
