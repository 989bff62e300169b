import DurableFiles
import Foundation

/// `events/`: the run for TensorBoard, one file. Where a run goes on, what the file has of later steps is cut off first, so that
/// no reader sees a step twice.
public final class EventFile: RunSink {
  private let file: AppendedFile
  private var pending: [Event] = []
  /// Steps from one training record to the next: some 10,000 of a run.
  private let interval: Int
  private let clock: () -> Double

  /// Opens the run's file, made if it is missing, to go on after the step of `run`; a run that begins drops what is there.
  ///
  /// - Parameters:
  ///   - folder: made if it is missing.
  ///   - clock: seconds since 1970.
  /// - Throws: `TelemetryError.file`.
  /// - Cost: reads the file where the run goes on.
  public init(
    folder: String, run: RunDescription, isResumed: Bool,
    clock: @escaping () -> Double = { Date().timeIntervalSince1970 }
  ) throws(TelemetryError) {
    let path = try Self.file(in: folder)
    let kept = isResumed ? try Self.records(path: path, upTo: run.step) : []
    // By rename: whoever reads the old file meanwhile finds it whole.
    try files { () throws(FileError) in try replaceFile(path, with: kept) }
    file = try AppendedFile(existing: path, end: kept.count)
    self.clock = clock
    interval = Self.interval(run)
    let now = clock()
    if kept.isEmpty {
      pending = [.fileVersion(time: now), .hyperparameters(time: now, run.settings)]
    }
    if isResumed { pending.append(.sessionStart(time: now, step: run.step + 1)) }
    try flush()
  }

  /// The file of events in `folder`: the one that is there, or a new name.
  private static func file(in folder: String) throws(TelemetryError) -> String {
    let names = try files { () throws(FileError) in
      _ = try createFolders(folder)
      return try folderContents(folder)
    }
    // What a crash left of a replacement: TensorBoard would take it for a file of events.
    for name in names where name.hasPrefix(".") && name.hasSuffix(".partial") {
      try files { () throws(FileError) in try removeFile(folder + "/" + name) }
    }
    let found = names.filter { $0.contains("tfevents") && !$0.hasPrefix(".") }.sorted().first
    // TensorBoard wants "tfevents" in the name, and a number of seconds behind it.
    return folder + "/" + (found ?? "events.out.tfevents.\(Int(Date().timeIntervalSince1970)).bipft")
  }

  /// The whole records of the file up to the first one of a later step than `step`; nothing where there is no file.
  private static func records(path: String, upTo step: Int) throws(TelemetryError) -> [UInt8] {
    if access(path, F_OK) != 0 { return [] }
    let bytes = try files { () throws(FileError) in try readFile(path) }
    var end = 0
    while end + 16 <= bytes.count {
      let length = (0..<8).reduce(0) { $0 | UInt64(bytes[end + $1]) << UInt64(8 * $1) }
      guard length <= UInt64(bytes.count - end - 16) else { break }
      let next = end + 16 + Int(length)
      guard let own = Event.step(of: bytes[end + 12..<next - 4]), own <= step else { break }
      end = next
    }
    return Array(bytes[..<end])
  }

  private static func interval(_ run: RunDescription) -> Int { max(1, run.steps / 10_000) }

  public func record(_ record: StepRecord) {
    guard record.kind == .eval || record.step % interval == 0 || record.step == 1 else { return }
    pending += Self.events(of: record, time: clock())
  }
  public func vitals(_ vitals: VitalSigns) { pending += Self.events(of: vitals, time: clock()) }

  public func flush() throws(TelemetryError) {
    guard !pending.isEmpty else { return }
    try file.append(pending.flatMap(\.frame))
    pending = []
  }

  private static func events(of record: StepRecord, time: Double) -> [Event] {
    let group = record.kind == .train ? "train" : "eval"
    var values = [(tag: "\(group)/loss", value: record.loss)]
    for number in record.losses + record.metrics { values.append(("\(group)/\(number.key)", number.value)) }
    for extra in record.extras {
      if case .number(let value) = extra.value { values.append(("\(group)/\(extra.key)", Float(value))) }
    }
    if let rate = record.learningRate { values.append(("train/learning_rate", rate)) }
    if let norm = record.gradientNorm { values.append(("train/gradient_norm", norm)) }
    values.append(("\(group)/tokens_per_second", Float(record.tokensPerSecond)))
    for extra in record.measured {
      switch extra.value {
      case .number(let value): values.append(("measured/\(extra.key)", Float(value)))
      case .integer(let value): values.append(("measured/\(extra.key)", Float(value)))
      case .text: break
      }
    }
    return [.scalars(time: time, step: record.step, values)]
  }

  private static func events(of vitals: VitalSigns, time: Double) -> [Event] {
    var values = vitals.stepSizes.map { (tag: "step_size/\($0.name)", value: $0.value) }
    for (name, list) in [
      ("flipped", vitals.flipped ?? []), ("clipped", vitals.clipped),
      ("attention_ones", vitals.attentionOnes), ("estimate_ratio", vitals.estimateRatio),
    ] {
      values += list.enumerated().map { ("vital/\(name)/layer_\($0)", $1) }
    }
    return [.scalars(time: time, step: vitals.step, values)]
      + vitals.distances.enumerated().map {
        .histogram(
          time: time, step: vitals.step, tag: "distance_from_mean/layer_\($0)", counts: $1, width: 0.1)
      }
  }

  /// Makes the file anew from what the run's files hold, in place of what is there.
  ///
  /// - Parameters:
  ///   - records: of `metrics.jsonl`, in their order.
  ///   - start: seconds since 1970 at which the run began; times after it are those of the tokens at their rate.
  /// - Throws: `TelemetryError.file`.
  public static func rebuild(
    folder: String, run: RunDescription, records: [StepRecord], vitals: [VitalSigns],
    start: Double
  ) throws(TelemetryError) {
    var time = start
    var events = [Event.fileVersion(time: time), .hyperparameters(time: time, run.settings)]
    var rest = vitals[...]
    for record in records {
      if record.kind == .train, record.tokensPerSecond > 0 {
        time += Double(run.tokensPerStep) / record.tokensPerSecond
      }
      while let next = rest.first, next.step < record.step {
        events += Self.events(of: next, time: time)
        rest.removeFirst()
      }
      if record.kind == .eval || record.step % interval(run) == 0 || record.step == 1 {
        events += Self.events(of: record, time: time)
      }
    }
    for next in rest { events += Self.events(of: next, time: time) }
    let path = try file(in: folder)
    let bytes = events.flatMap(\.frame)
    try files { () throws(FileError) in try replaceFile(path, with: bytes) }
  }
}
