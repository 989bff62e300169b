import DurableFiles
import RunSettings
import Telemetry

/// What came of runs of one task that differ in their seeds, beside what they have to beat.
struct FinetuneSummary: Codable, Equatable {
  static let fileName = "summary.json"

  /// What the seeds' values of a metric come to; nil where one of them is not defined.
  struct Spread: Codable, Equatable {
    let mean: Double?
    /// The standard deviation of a sample (n − 1); nil for one seed.
    let deviation: Double?

    init(_ values: [Double?]) {
      let found = values.compactMap { $0 }
      let isDefined = !found.isEmpty && found.count == values.count
      let middle = found.reduce(0, +) / Double(found.count)
      let squares = found.reduce(0) { $0 + ($1 - middle) * ($1 - middle) }
      mean = isDefined ? middle : nil
      deviation = isDefined && found.count > 1 ? (squares / Double(found.count - 1)).squareRoot() : nil
    }
  }

  /// One metric of the held-out rows.
  struct Metric: Codable, Equatable {
    let key: String
    let majority: Double?
    let bagOfTokens: Double?
    let last: Spread
    let best: Spread
  }

  /// An evaluation: its metrics in the order of `metrics`; nil where one is not defined.
  struct Evaluation: Codable, Equatable {
    let step: Int
    let values: [Double?]
  }

  struct Seed: Codable, Equatable {
    let seed: UInt64
    let run: String
    let last: Evaluation
    /// By `BestEvaluation`; the last where none is defined.
    let best: Evaluation
  }

  let version: Int
  let task: String
  /// The weights that the runs started from.
  let start: String?
  /// The first is what the best is chosen by.
  let metrics: [Metric]
  let seeds: [Seed]

  /// - Throws: `TrainingError` where the files of a run cannot be read.
  init(_ runs: [(seed: UInt64, run: String)]) throws(TrainingError) {
    let record = try TaskRecord(run: runs[0].run)
    let configuration = try inModule { () throws(ConfigurationError) in
      try RunConfiguration.load(file: runs[0].run + "/config.yaml", isStored: true)
    }
    var seeds: [Seed] = []
    for (seed, run) in runs { seeds.append(try Self.seed(seed, run)) }
    self.seeds = seeds
    version = 1
    task = record.task
    start = configuration.initialWeights
    metrics = zip(record.majority, record.bagOfTokens).enumerated().map { index, pair in
      Metric(
        key: pair.0.key, majority: pair.0.value, bagOfTokens: pair.1.value,
        last: Spread(seeds.map { $0.last.values[index] }), best: Spread(seeds.map { $0.best.values[index] }))
    }
  }

  private static func seed(_ seed: UInt64, _ run: String) throws(TrainingError) -> Seed {
    let path = run + "/metrics.jsonl"
    let evaluated = try inModule { () throws(TelemetryError) in try MetricsFile.records(path: path) }
      .filter { $0.kind == .eval }
    // What a run starts with is no result of it, unless it has no steps.
    let trained = evaluated.filter { $0.step > 0 }
    let evaluations = trained.isEmpty ? evaluated : trained
    guard let last = evaluations.last else {
      throw .unreadable(path: path, reason: "tells of no evaluation; remove the run and start over")
    }
    var (rule, best) = (BestEvaluation(), last)
    for evaluation in evaluations where rule.note(evaluation) { best = evaluation }
    func found(_ evaluation: StepRecord) -> Evaluation {
      // As the file writes them, not as binary fractions of float32.
      Evaluation(
        step: evaluation.step,
        values: evaluation.metrics.map { $0.value.isFinite ? Double("\($0.value)") : nil })
    }
    return Seed(seed: seed, run: run, last: found(last), best: found(best))
  }

  /// Writes it as JSON into `folder`.
  ///
  /// - Returns: the path of the file.
  func write(to folder: String) throws(TrainingError) -> String {
    let path = folder + "/" + Self.fileName
    do throws(FileError) { try replaceFile(path, with: encodeJSON(self)) } catch {
      throw .unreadable(path: path, reason: "cannot be written (\(error.reason))")
    }
    return path
  }

  // MARK: For people

  /// A table: a column a metric; what there is to beat, the last and the best epoch of each seed, and of several their means.
  var text: String {
    typealias Row = (name: String, cells: [String], note: String)
    func digits(_ values: [Double?]) -> [String] { values.map { TaskRecord.digits($0) } }
    var rows: [Row] = [
      ("\(task), held-out rows", metrics.map { $0.key.replacing("_", with: " ") }, ""),
      ("always the same", digits(metrics.map(\.majority)), ""),
      ("bag of tokens", digits(metrics.map(\.bagOfTokens)), ""),
    ]
    for seed in seeds {
      rows.append(("seed \(seed.seed), last epoch", digits(seed.last.values), "step \(seed.last.step)"))
      rows.append(("seed \(seed.seed), best epoch", digits(seed.best.values), "step \(seed.best.step)"))
    }
    if seeds.count > 1 {
      func cell(_ spread: Spread) -> String {
        TaskRecord.digits(spread.mean) + (spread.deviation.map { " ± \(TaskRecord.digits($0))" } ?? "")
      }
      rows.append(("mean of \(seeds.count), last epoch", metrics.map { cell($0.last) }, ""))
      rows.append(("mean of \(seeds.count), best epoch", metrics.map { cell($0.best) }, ""))
    }
    let widths = (0...metrics.count).map { column in
      rows.map { (column == 0 ? $0.name : $0.cells[column - 1]).count }.max() ?? 0
    }
    let lines = rows.map { row in
      let cells = ([row.name] + row.cells).enumerated().map { index, cell in
        cell + String(repeating: " ", count: widths[index] - cell.count)
      }
      let line = (cells + [row.note]).joined(separator: "   ")
      return String(line.reversed().drop { $0 == " " }.reversed())
    }
    let name = metrics.first?.key.replacing("_", with: " ") ?? "loss"
    let notes =
      ["The best epoch is chosen by \(name) on these same rows: a maximum, not an unbiased measure."]
      + (seeds.count > 1 ? ["± is the standard deviation of a sample (n - 1) over the seeds."] : [])
    return (lines + notes).joined(separator: "\n")
  }
}
