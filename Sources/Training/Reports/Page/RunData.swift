import Coordinator
import Corpora
import DurableFiles
import Foundation
import RunSettings
import Telemetry

/// What the files of a run tell, for its report.
struct RunData {
  let path: String
  /// What became of it, and when that was told; nil where it cannot be read.
  let state: String?
  /// Of the configuration, by key.
  let settings: [(key: String, value: String)]
  let events: [RunHistory.Event]
  let corpus: String?
  /// The names of curves in the order of their first appearance, as `train/loss`.
  private(set) var names: [String] = []
  private(set) var curves: [String: Curve] = [:]
  private(set) var vitals: [VitalSigns] = []
  /// Seconds of all measured steps, by phase.
  private(set) var phases: [(name: String, seconds: Double)] = []
  private(set) var tokens = 0.0
  private(set) var seconds = 0.0
  private(set) var steps = 0
  private(set) var best: (step: Int, metric: String, value: Double)?
  let checkpoints: [(name: String, bytes: Int)]
  /// What is wrong with the files.
  private(set) var problems: [String] = []

  /// - Throws: `TrainingError.unreadable` for a folder that holds no run.
  init(path: String) throws(TrainingError) {
    let metrics = path + "/metrics.jsonl"
    guard FileManager.default.fileExists(atPath: metrics) else {
      throw .unreadable(
        path: path, reason: "holds no metrics.jsonl, so no run that has begun; name the folder of a run")
    }
    self.path = path
    var problems: [String] = []
    let told = ((try? RunDirectory.identify(path)) ?? nil).map { " (\($0.time))" } ?? ""
    state = ((try? RunDirectory.summary(path)) ?? nil).map { $0 + told }
    if state == nil { problems.append("state.json cannot be read") }
    let configuration = try? RunConfiguration.load(file: path + "/config.yaml", isStored: true)
    if configuration == nil { problems.append("config.yaml cannot be read") }
    settings = configuration?.settings.map { ($0.key, $0.value) } ?? []
    corpus = Self.corpus(configuration)
    do { events = try RunHistory(run: path).events() } catch {
      events = []
      problems.append("\(error)")
    }
    checkpoints = Self.checkpoints(path + "/checkpoints")
    let tokensPerStep = configuration.map { Double($0.training.globalBatch * $0.data.sequenceLength) } ?? 0
    let damaged = try inModule { () throws(TelemetryError) in
      try MetricsFile.readTolerantly(path: metrics) { add($0, tokensPerStep: tokensPerStep) }
    }
    if damaged > 0 { problems.append("\(damaged) lines of metrics.jsonl cannot be read and are left out") }
    do throws(TelemetryError) { vitals = try VitalsFile.all(path: path + "/vitals.jsonl") } catch {
      problems.append("\(error)")
    }
    addPhases(path + "/measurements.jsonl")
    let gaps = curves.values.reduce(0) { $0 + $1.gaps }
    if gaps > 0 { problems.append("\(gaps) values are not finite: gaps of the curves") }
    self.problems = problems
  }

  private mutating func add(_ name: String, _ step: Int, _ value: Double) {
    if curves[name] == nil { names.append(name) }
    curves[name, default: Curve()].add(step: step, value)
  }

  private mutating func add(_ record: StepRecord, tokensPerStep: Double) {
    let group = record.kind == .train ? "train" : "eval"
    add("\(group)/loss", record.step, Double(record.loss))
    if record.losses.count > 1 || record.kind == .eval {
      for number in record.losses { add("\(group)/\(number.key)", record.step, Double(number.value)) }
    }
    for number in record.metrics { add("\(group)/\(number.key)", record.step, Double(number.value)) }
    guard record.kind == .train else {
      let (metric, value) =
        record.metrics.first.map { ($0.key, Double($0.value)) } ?? ("loss", Double(record.loss))
      let isBetter = best.map { metric == "loss" ? value < $0.value : value > $0.value } ?? true
      if isBetter, value.isFinite { best = (record.step, metric, value) }
      return
    }
    steps = max(steps, record.step)
    for extra in record.extras {
      if case .number(let value) = extra.value { add("train/\(extra.key)", record.step, value) }
    }
    if let rate = record.learningRate { add("train/learning_rate", record.step, Double(rate)) }
    if let norm = record.gradientNorm { add("train/gradient_norm", record.step, Double(norm)) }
    add("train/tokens_per_second", record.step, record.tokensPerSecond)
    if record.tokensPerSecond > 0 {
      tokens += tokensPerStep
      seconds += tokensPerStep / record.tokensPerSecond
    }
  }

  /// Adds up the phases; steps that were done again count each time.
  private mutating func addPhases(_ path: String) {
    var sums: [String: Double] = [:]
    var order: [String] = []
    MeasurementsFile.read(path: path) { _, extras in
      for extra in extras where extra.key.hasSuffix("_seconds") {
        if sums[extra.key] == nil { order.append(extra.key) }
        switch extra.value {
        case .number(let value): sums[extra.key, default: 0] += value
        case .integer(let value): sums[extra.key, default: 0] += Double(value)
        case .text: break
        }
      }
    }
    phases = order.map { (String($0.dropLast("_seconds".count)), sums[$0]!) }
  }

  /// What the corpus holds, as far as it is where the configuration says.
  private static func corpus(_ configuration: RunConfiguration?) -> String? {
    guard let path = configuration?.data.corpus else { return nil }
    guard let corpus = try? Corpus(directory: path) else { return path }
    let counts = CorpusSplit.allCases.compactMap { split -> String? in
      let shards = corpus.shards(split)
      if shards.isEmpty { return nil }
      let (documents, tokens) = shards.reduce((0, 0)) { ($0.0 + $1.documents, $0.1 + $1.tokens) }
      return "\(split.rawValue) \(shortNumber(Double(tokens))) tokens in \(documents) documents"
    }
    return "\(path): \(counts.joined(separator: ", ")); SHA-256 \(corpus.digest.prefix(12))…"
  }

  private static func checkpoints(_ folder: String) -> [(name: String, bytes: Int)] {
    let names = ((try? folderContents(folder)) ?? []).filter { $0.hasPrefix("step-") && !$0.contains(".") }
    return names.sorted().map { name in
      let files = (try? folderContents(folder + "/" + name)) ?? []
      let bytes = files.reduce(0) { sum, file in
        let attributes = try? FileManager.default.attributesOfItem(atPath: "\(folder)/\(name)/\(file)")
        return sum + ((attributes?[.size] as? NSNumber)?.intValue ?? 0)
      }
      return (name, bytes)
    }
  }
}
