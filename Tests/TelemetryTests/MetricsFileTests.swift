import DurableFiles
import Foundation
import Telemetry
import Testing

/// Runs `body` with a fresh folder that goes away afterwards.
private func withFolder(_ body: (String) throws -> Void) throws {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("bipft-\(UUID())").path
  try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(atPath: folder) }
  try body(folder)
}

private func text(_ path: String) throws -> String { try String(contentsOfFile: path, encoding: .utf8) }

private func lines(_ records: [StepRecord]) -> String { records.map { $0.json + "\n" }.joined() }

/// A 4 KiB file system at `folder`, where this user may mount one.
private func mountTiny(_ folder: String) -> Bool { shell("mount -t tmpfs -o size=4k none '\(folder)'") == 0 }

private func shell(_ command: String) -> Int32 {
  let process = Process()
  process.executableURL = URL(fileURLWithPath: "/bin/sh")
  process.arguments = ["-c", command]
  process.standardError = FileHandle.nullDevice
  guard (try? process.run()) != nil else { return -1 }
  process.waitUntilExit()
  return process.terminationStatus
}

private let mayMount =
  shell("d=$(mktemp -d) && mount -t tmpfs -o size=4k none $d && umount $d; code=$?; rmdir $d; exit $code")
  == 0

@Suite struct MetricsFileTests {
  @Test func appendsWholeLinesAtOnce() throws {
    try withFolder { folder in
      let path = folder + "/metrics.jsonl"
      let file = try MetricsFile(path: path, resumingAfter: nil)
      #expect(try text(path) == "")
      let records = [evaluationRecord(0), trainRecord(1), trainRecord(2, extras: [.init("a", .text("ü\n"))])]
      for (index, record) in records.enumerated() {
        try file.append(record)
        #expect(try text(path) == lines(Array(records[...index])))
      }
      #expect(try MetricsFile.records(path: path) == records)
    }
  }

  @Test func floatsReadBackToTheSameBits() throws {
    var random = RandomBits()
    func float() -> Float { Float(bitPattern: UInt32(truncatingIfNeeded: random.next())) }
    func double() -> Double { Double(bitPattern: random.next()) }
    var records: [StepRecord] = []
    for step in 1...3000 {
      var extras: [StepRecord.Extra] = []
      // Extras that are not finite come back as text.
      let value = double()
      if value.isFinite { extras.append(.init("extra", .number(value))) }
      records.append(
        StepRecord(
          kind: .train, step: step, loss: float(),
          losses: [.init("mlm_loss", float()), .init("nsp_loss", float())], learningRate: float(),
          gradientNorm: float(), tokensPerSecond: double(), extras: extras))
    }
    try withFolder { folder in
      let path = folder + "/metrics.jsonl"
      let file = try MetricsFile(path: path, resumingAfter: nil)
      for record in records { try file.append(record) }
      let read = try MetricsFile.records(path: path)
      #expect(read.count == records.count)
      func same(_ a: Float?, _ b: Float?) -> Bool {
        a?.bitPattern == b?.bitPattern || (a?.isNaN ?? false) && (b?.isNaN ?? false)
      }
      for (a, b) in zip(records, read) {
        #expect(same(a.loss, b.loss) && a.losses.map(\.key) == b.losses.map(\.key))
        #expect(zip(a.losses, b.losses).allSatisfy { same($0.value, $1.value) })
        #expect(same(a.learningRate, b.learningRate) && same(a.gradientNorm, b.gradientNorm))
        #expect(
          a.tokensPerSecond.bitPattern == b.tokensPerSecond.bitPattern
            || a.tokensPerSecond.isNaN && b.tokensPerSecond.isNaN)
        #expect(a.extras == b.extras)
      }
    }
  }

  @Test func everyLineIsJSON() throws {
    let extras = [
      StepRecord.Extra("t", .text("a\u{1}\"\\ \u{2028}é")), .init("n", .number(Double.leastNonzeroMagnitude)),
    ]
    for record in [
      trainRecord(1, loss: .nan, extras: extras), trainRecord(2, loss: -.infinity), evaluationRecord(3),
    ] {
      let object = try JSONSerialization.jsonObject(with: Data(record.json.utf8)) as? [String: Any]
      #expect(object?["step"] as? Int == record.step)
    }
  }

  @Test func resumingDropsLaterStepsAndATornLine() throws {
    try withFolder { folder in
      let path = folder + "/metrics.jsonl"
      let early = [evaluationRecord(0), trainRecord(1), trainRecord(2), evaluationRecord(2)]
      let late = [trainRecord(3), evaluationRecord(3), trainRecord(4)]
      try (lines(early + late) + #"{"kind": "tr"#).write(toFile: path, atomically: false, encoding: .utf8)
      #expect(try MetricsFile.records(path: path) == early + late)
      let file = try MetricsFile(path: path, resumingAfter: 2)
      #expect(try text(path) == lines(early))
      try file.append(trainRecord(3))
      #expect(try text(path) == lines(early + [trainRecord(3)]))
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["metrics.jsonl"])
    }
  }

  @Test func resumingKeepsAWholeFileAsItIs() throws {
    try withFolder { folder in
      let path = folder + "/metrics.jsonl"
      try lines([trainRecord(1), trainRecord(2)]).write(toFile: path, atomically: false, encoding: .utf8)
      let before = try FileManager.default.attributesOfItem(atPath: path)[.systemFileNumber] as? Int
      _ = try MetricsFile(path: path, resumingAfter: 2)
      #expect(try FileManager.default.attributesOfItem(atPath: path)[.systemFileNumber] as? Int == before)
    }
  }

  /// A long run: what stands before the step that it goes on from is not read again.
  @Test func resumingReadsTheEndOnly() throws {
    try withFolder { folder in
      let path = folder + "/metrics.jsonl"
      let count = 100_000
      let before = (1...count).map { trainRecord($0).json + "\n" }.joined()
      let after = lines([trainRecord(count + 1), evaluationRecord(count + 1), evaluationRecord(count + 2)])
      try (before + after).write(toFile: path, atomically: false, encoding: .utf8)
      let start = ContinuousClock.now
      #expect(try MetricsFile.lastStep(path: path) == count + 1)
      let file = try MetricsFile(path: path, resumingAfter: count)
      // It takes a millisecond; parsing it all took 3 s.
      #expect(start.duration(to: .now) < .milliseconds(500))
      try file.append(trainRecord(count + 1))
      #expect(try text(path) == before + lines([trainRecord(count + 1)]))
      // All of it can go, too.
      _ = try MetricsFile(path: path, resumingAfter: 0)
      #expect(try text(path) == "")
    }
  }

  @Test func theLastStepIsThatOfTheLastUpdate() throws {
    try withFolder { folder in
      let path = folder + "/metrics.jsonl"
      #expect(try MetricsFile.lastStep(path: path) == nil)
      try "".write(toFile: path, atomically: false, encoding: .utf8)
      #expect(try MetricsFile.lastStep(path: path) == nil)
      // Other writers may order and space the keys as they like.
      let other =
        #"{"step":7,"kind":"train","loss":1,"mlm_loss":1,"nsp_loss":0,"learning_rate":1,"#
        + #""gradient_norm":1,"tokens_per_second":1}"#
      try (other + "\n" + lines([evaluationRecord(8)]) + #"{"kind": "train", "step": 9, "#)
        .write(toFile: path, atomically: false, encoding: .utf8)
      #expect(try MetricsFile.lastStep(path: path) == 7)
      try (other + "\nno record\n").write(toFile: path, atomically: false, encoding: .utf8)
      let error = #expect(throws: TelemetryError.self) { try MetricsFile.lastStep(path: path) }
      #expect(error?.description.hasPrefix("\(path):2: not a metrics record") == true)
    }
  }

  @Test func aNewRunStartsEmpty() throws {
    try withFolder { folder in
      let path = folder + "/metrics.jsonl"
      try lines([trainRecord(1)]).write(toFile: path, atomically: false, encoding: .utf8)
      _ = try MetricsFile(path: path, resumingAfter: nil)
      #expect(try text(path) == "")
    }
  }

  @Test(arguments: [
    ("x", "'{' expected at column 1"), (#"{"kind": "train"}"#, "no step"),
    (#"{"kind": "test", "step": 1}"#, nil),
    (#"{"kind": "train", "step": 1.5}"#, "step is no integer"),
    (#"{"a": 1, "a": 2}"#, "a stands twice at column 14"),
    (#"{"a": [1]}"#, "a value expected at column 7"),
    (#"{"a": 1} {}"#, "text after the end of the value at column 10"),
    (#"{"a": "b"#, "the text ends inside a string at column 9"),
    (#"{"a": "\ud800"}"#, "half of a surrogate pair at column 15"),
  ])
  func aLineThatIsNoRecordIsNamed(_ line: String, _ reason: String?) throws {
    try withFolder { folder in
      let path = folder + "/metrics.jsonl"
      try (lines([trainRecord(1)]) + line + "\n").write(toFile: path, atomically: false, encoding: .utf8)
      let error = #expect(throws: TelemetryError.self) { try MetricsFile.records(path: path) }
      let expected = reason ?? "kind is neither train nor eval"
      #expect(error?.description == "\(path):2: not a metrics record (\(expected)); mend or remove the line")
      // Nothing is dropped from a file that is not understood.
      #expect(throws: TelemetryError.self) { _ = try MetricsFile(path: path, resumingAfter: 0) }
      #expect(try text(path) == lines([trainRecord(1)]) + line + "\n")
    }
  }

  @Test func missingPlacesAreNamed() throws {
    try withFolder { folder in
      let path = folder + "/none/metrics.jsonl"
      let error = #expect(throws: TelemetryError.self) { _ = try MetricsFile(path: path, resumingAfter: nil) }
      #expect(error?.description == "cannot open \(path): No such file or directory")
      #expect(throws: TelemetryError.file(.system(operation: "open", path: path, code: ENOENT))) {
        try MetricsFile.records(path: path)
      }
    }
  }

  @Test(.enabled(if: mayMount, "needs the right to mount a file system"))
  func aFullDiskLeavesWholeLines() throws {
    try withFolder { folder in
      #expect(mountTiny(folder))
      defer { _ = shell("umount -l '\(folder)'") }
      let path = folder + "/metrics.jsonl"
      let file = try MetricsFile(path: path, resumingAfter: nil)
      var written: [StepRecord] = []
      var failure: TelemetryError?
      for step in 1...100 where failure == nil {
        do throws(TelemetryError) {
          try file.append(trainRecord(step))
          written.append(trainRecord(step))
        } catch {
          failure = error
        }
      }
      #expect(written.count > 10)
      #expect(
        failure?.description
          == "cannot write \(path): No space left on device; free some space there and start again")
      #expect(try text(path) == lines(written))
      // The same file goes on once there is room.
      #expect(shell("mount -o remount,size=64k '\(folder)'") == 0)
      try file.append(evaluationRecord(7))
      #expect(try text(path) == lines(written + [evaluationRecord(7)]))
    }
  }
}
