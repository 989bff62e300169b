import Foundation
import Mutations
import Telemetry
import Testing

/// Damaged metrics: read, or refused in one line with file and line number and left alone; no crash.
@Suite struct MutationTests {
  @Test func metrics() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("bipft-\(UUID())").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let path = folder + "/metrics.jsonl"
    let records = [
      evaluationRecord(0), trainRecord(1),
      trainRecord(2, loss: .nan, extras: [.init("a", .text("ü\n\"\u{1}"))]),
      trainRecord(3, extras: [.init("n", .integer(7)), .init("x", .number(1e-300))]), evaluationRecord(3),
    ]
    let good = Array(records.map { $0.json + "\n" }.joined().utf8)
    var (read, refused) = (0, 0)
    try Mutations.of(good, count: 3_000, name: "metrics.jsonl") { bytes, number in
      try Data(bytes).write(to: URL(fileURLWithPath: path))
      do throws(TelemetryError) {
        let found = try MetricsFile.records(path: path)
        read += 1
        // Resuming cuts off what comes after the last line of a step that counts, and changes nothing else.
        _ = try MetricsFile(path: path, resumingAfter: 2)
        let kept = try MetricsFile.records(path: path).map(\.json)
        let end = (found.lastIndex { $0.step <= 2 } ?? -1) + 1
        #expect(kept == found[..<end].map(\.json), "mutant \(number)")
      } catch {
        refused += 1
        let text = error.description
        #expect(text.hasPrefix(path + ":") && !text.contains("\n"), "mutant \(number): \(text)")
        #expect(
          try Array(Data(contentsOf: URL(fileURLWithPath: path))) == bytes, "mutant \(number) is changed")
      }
    }
    #expect(read > 0 && refused > 0)
  }
}
