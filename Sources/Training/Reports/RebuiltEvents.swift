import Coordinator
import DurableFiles
import Foundation
import RunSettings
import Telemetry

/// The events of a run made anew from its other files.
public enum RebuiltEvents {
  /// - Returns: how many records of `metrics.jsonl` they are made of.
  /// - Throws: `TrainingError` where the run's files cannot be read, or somebody trains in it.
  public static func make(run: String) throws -> Int {
    let configuration = try RunConfiguration.load(file: run + "/config.yaml", isStored: true)
    var records = try MetricsFile.records(path: run + "/metrics.jsonl")
    if let holder = try RunDirectory.summary(run), holder.hasPrefix("running (") {
      throw TrainingError.unreadable(
        path: run, reason: "somebody trains in it (\(holder)); its events are complete as they are")
    }
    // Of a step that was done again the last time counts.
    var measured: [Int: [StepRecord.Extra]] = [:]
    MeasurementsFile.read(path: run + "/measurements.jsonl") { measured[$0] = $1 }
    for index in records.indices where records[index].kind == .train {
      records[index].measured = measured[records[index].step] ?? []
    }
    let events = try RunHistory(run: run).events()
    let start =
      events.first { $0.event == .start }.flatMap { try? Date($0.time, strategy: .iso8601) } ?? Date()
    try EventFile.rebuild(
      folder: run + "/events",
      run: RunDescription(configuration, run: run, step: 0), records: records,
      vitals: try VitalsFile.all(path: run + "/vitals.jsonl"), start: start.timeIntervalSince1970)
    return records.count
  }
}
