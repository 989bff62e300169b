import Foundation
import Telemetry
import Testing

@Suite struct MeasurementsFileTests {
  private func measured(_ step: Int) -> StepRecord {
    var record = trainRecord(step)
    record.measured = [.init("seconds", .number(0.5))]
    return record
  }

  private func line(_ step: Int) -> String { "{\"step\": \(step), \"seconds\": 0.5}\n" }

  @Test func aTornLineIsCutOffAndLinesAreAppended() throws {
    let path = NSTemporaryDirectory() + "bipft-measurements-\(UUID()).jsonl"
    defer { try? FileManager.default.removeItem(atPath: path) }
    func text() throws -> String { try String(contentsOfFile: path, encoding: .utf8) }
    do {
      let file = try MeasurementsFile(path: path, isResumed: false)
      file.record(measured(1))
      // Nothing was measured.
      file.record(trainRecord(2))
      file.record(measured(3))
    }
    #expect(try text() == line(1) + line(3))
    // What a crash leaves of a line.
    try (line(1) + line(3) + "{\"step\": 4, \"sec").write(toFile: path, atomically: false, encoding: .utf8)
    do {
      let file = try MeasurementsFile(path: path, isResumed: true)
      #expect(try text() == line(1) + line(3))
      file.record(measured(4))
    }
    #expect(try text() == line(1) + line(3) + line(4))
    for torn in ["{\"st", "\n", ""] {
      try torn.write(toFile: path, atomically: false, encoding: .utf8)
      let file = try MeasurementsFile(path: path, isResumed: true)
      file.record(measured(5))
      #expect(try text() == (torn == "\n" ? "\n" : "") + line(5))
    }
    _ = try MeasurementsFile(path: path, isResumed: false)
    #expect(try text() == "")
    #expect(throws: TelemetryError.file(.system(operation: "open", path: path + "/x", code: ENOTDIR))) {
      _ = try MeasurementsFile(path: path + "/x", isResumed: true)
    }
  }
}
