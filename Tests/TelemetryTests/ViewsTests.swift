import Foundation
import Telemetry
import Testing

private func description(step: Int = 0, steps: Int = 100) -> RunDescription {
  RunDescription(
    name: "a\"b", steps: steps, step: step, tokensPerStep: 64,
    settings: [("seed", "1"), ("objective", "pretraining")])
}

private func vitals(_ step: Int) -> VitalSigns {
  VitalSigns(
    step: step, flipped: step == 0 ? nil : [0.25, 0.5],
    stepSizes: [("layer.0.clip_query", 0.5), ("x", .nan)],
    clipped: [0.1, 0.2], attentionOnes: [0, 1], estimateRatio: [.infinity, 0.5],
    distances: [[1, 2], [3, 0]])
}

/// A folder that goes with it.
private final class Folder {
  let path = NSTemporaryDirectory() + "bipft-views-\(UUID().uuidString)"
  init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
  deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// Events as an independent reader sees them: frames checked with a checksum of its own, fields by their numbers.
private struct ReadEvent {
  let step: Int
  /// Of the fields of a summary's values: tags of scalars.
  let tags: [String]
  let isSessionStart: Bool

  static func all(_ bytes: [UInt8]) throws -> [ReadEvent] {
    var events: [ReadEvent] = []
    var rest = bytes[...]
    while !rest.isEmpty {
      let length = rest.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
      try #require(rest.count >= length + 16)
      let message = rest.dropFirst(12).prefix(length)
      try #require(crc(rest.prefix(8)) == word(rest.dropFirst(8)))
      try #require(crc(message) == word(rest.dropFirst(12 + length)))
      events.append(try ReadEvent(Array(message)))
      rest = rest.dropFirst(16 + length)
    }
    return events
  }

  private static func word(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    bytes.prefix(4).reversed().reduce(0) { $0 << 8 | UInt32($1) }
  }

  /// Bit by bit, with TensorFlow's mask.
  private static func crc(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    var sum: UInt32 = 0xFFFF_FFFF
    for byte in bytes {
      sum ^= UInt32(byte)
      for _ in 0..<8 { sum = sum & 1 == 1 ? (sum >> 1) ^ 0x82F6_3B78 : sum >> 1 }
    }
    sum = ~sum
    return ((sum >> 15) | (sum << 17)) &+ 0xA282_EAD8
  }

  private init(_ message: [UInt8]) throws {
    var (step, tags, isSessionStart) = (0, [String](), false)
    for (field, value) in try Self.fields(message) {
      switch (field, value) {
      case (2, .number(let number)): step = number
      case (5, .bytes(let summary)):
        for case (1, .bytes(let value)) in try Self.fields(summary) {
          for case (1, .bytes(let tag)) in try Self.fields(value) {
            tags.append(String(decoding: tag, as: UTF8.self))
          }
        }
      case (7, .bytes(let log)):
        for case (1, .number(1)) in try Self.fields(log) { isSessionStart = true }
      default: break
      }
    }
    (self.step, self.tags, self.isSessionStart) = (step, tags, isSessionStart)
  }

  private enum Field {
    case number(Int)
    case bytes([UInt8])
    case other
  }

  private static func fields(_ message: [UInt8]) throws -> [(Int, Field)] {
    var (rest, found) = (message[...], [(Int, Field)]())
    func varint() throws -> Int {
      var (value, shift) = (0, 0)
      while true {
        let next = rest.popFirst()
        let byte = try #require(next)
        value |= Int(byte & 127) << shift
        if byte < 128 { return value }
        shift += 7
      }
    }
    while !rest.isEmpty {
      let key = try varint()
      switch key & 7 {
      case 0: found.append((key >> 3, .number(try varint())))
      case 1, 5:
        rest = rest.dropFirst(key & 7 == 1 ? 8 : 4)
        found.append((key >> 3, .other))
      case 2:
        let count = try varint()
        found.append((key >> 3, .bytes(Array(rest.prefix(count)))))
        rest = rest.dropFirst(count)
      default: Issue.record("wire type \(key & 7)")
      }
    }
    return found
  }
}

@Suite struct EventFileTests {
  private func events(_ folder: Folder) throws -> [ReadEvent] {
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path + "/events")
    #expect(names.count == 1 && names[0].contains("tfevents"))
    return try ReadEvent.all(
      Array(Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/events/\(names[0])"))))
  }

  private func file(_ folder: Folder, step: Int, isResumed: Bool) throws -> EventFile {
    try EventFile(
      folder: folder.path + "/events", run: description(step: step), isResumed: isResumed, clock: { 1e9 })
  }

  /// Steps that are done again stand there once, after a stop, a crash within a record, and a return to an earlier step.
  @Test func goingOnLeavesNoStepTwice() throws {
    let folder = try Folder()
    var sink = try file(folder, step: 0, isResumed: false)
    func train(_ steps: ClosedRange<Int>) throws {
      for step in steps {
        sink.record(trainRecord(step))
        if step % 5 == 0 { sink.vitals(vitals(step)) }
        try sink.flush()
      }
    }
    func steps() throws -> [Int] {
      try events(folder).filter { $0.tags.contains("train/loss") }.map(\.step)
    }
    try train(1...12)
    #expect(try steps() == Array(1...12))
    sink = try file(folder, step: 10, isResumed: true)
    #expect(try events(folder).last?.isSessionStart == true)
    try train(11...20)
    #expect(try steps() == Array(1...20))
    // A torn record at the end.
    let name = try FileManager.default.contentsOfDirectory(atPath: folder.path + "/events")[0]
    let handle = try #require(FileHandle(forWritingAtPath: "\(folder.path)/events/\(name)"))
    try handle.seekToEnd()
    try handle.write(contentsOf: Data([9, 0, 0, 0, 0, 0]))
    try handle.close()
    try Data([1]).write(to: URL(fileURLWithPath: "\(folder.path)/events/.\(name).77.partial"))
    sink = try file(folder, step: 5, isResumed: true)
    try train(6...8)
    #expect(try steps() == Array(1...8))
    let all = try events(folder)
    #expect(all.filter { $0.tags.contains("distance_from_mean/layer_1") }.map(\.step) == [5])
    #expect(all.filter { $0.tags.contains("vital/flipped/layer_1") }.map(\.step) == [5])
    #expect(all.filter { $0.tags.contains("_hparams_/session_start_info") }.count == 1)
    // A run that starts over keeps nothing.
    sink = try file(folder, step: 0, isResumed: false)
    try train(1...2)
    #expect(try steps() == [1, 2])
  }

  @Test func rebuiltEventsAreTheSame() throws {
    let folder = try Folder()
    let sink = try file(folder, step: 0, isResumed: false)
    var records: [StepRecord] = []
    for step in 1...9 {
      records.append(trainRecord(step))
      if step % 3 == 0 { records.append(evaluationRecord(step)) }
    }
    for record in records {
      sink.record(record)
      if record.kind == .eval { sink.vitals(vitals(record.step)) }
      try sink.flush()
    }
    let written = try events(folder).map { "\($0.step) \($0.tags)" }
    try EventFile.rebuild(
      folder: folder.path + "/events", run: description(), records: records, vitals: [3, 6, 9].map(vitals),
      start: 1e9)
    #expect(try events(folder).map { "\($0.step) \($0.tags)" } == written)
  }

  /// A long run keeps some 10,000 training records.
  @Test func longRunsAreThinned() throws {
    let folder = try Folder()
    let sink = try EventFile(
      folder: folder.path + "/events", run: description(steps: 50_000), isResumed: false, clock: { 1e9 })
    for step in 1...20 { sink.record(trainRecord(step)) }
    try sink.flush()
    #expect(try events(folder).filter { $0.tags.contains("train/loss") }.map(\.step) == [1, 5, 10, 15, 20])
  }
}

@Suite struct PrometheusFileTests {
  @Test func text() throws {
    let folder = try Folder()
    var now = 1000.0
    let path = folder.path + "/metrics.prom"
    let sink = PrometheusFile(path: path, run: description(), interval: 5, clock: { now })
    func lines() throws -> [String] {
      try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map(String.init)
    }
    sink.state("running", step: 0, reason: "")
    sink.record(trainRecord(3))
    try sink.flush()
    let first = try lines()
    #expect(first.contains("bipft_step{run=\"a\\\"b\"} 3"))
    #expect(first.contains("bipft_tokens_total{run=\"a\\\"b\"} 192"))
    #expect(first.contains("bipft_state{run=\"a\\\"b\",state=\"running\"} 1"))
    #expect(first.contains("bipft_last_step_timestamp_seconds{run=\"a\\\"b\"} 1000"))
    // Every sample's metric is explained and typed once, before it.
    for line in first where !line.hasPrefix("#") {
      let name = line.prefix { $0 != "{" }
      for kind in ["HELP", "TYPE"] {
        #expect(first.filter { $0.hasPrefix("# \(kind) \(name) ") }.count == 1, "\(name)")
      }
      #expect(line.split(separator: " ").count == 2, "a timestamp: \(line)")
    }
    // Not more often than every five seconds, but at once where the state changes.
    now = 1004
    sink.record(trainRecord(4))
    try sink.flush()
    #expect(try lines() == first)
    now = 1006
    var bad = trainRecord(5)
    bad.loss = .nan
    bad.extras = [.init("skipped", .text("the loss is not finite"))]
    sink.record(bad)
    try sink.flush()
    #expect(try lines().contains("bipft_loss{run=\"a\\\"b\"} NaN"))
    #expect(try lines().contains("bipft_loss_is_finite{run=\"a\\\"b\"} 0"))
    #expect(try lines().contains("bipft_skipped_steps_total{run=\"a\\\"b\"} 1"))
    sink.checkpoint(step: 5)
    sink.state("finished", step: 5, reason: "")
    sink.finish()
    #expect(try lines().contains("bipft_state{run=\"a\\\"b\",state=\"finished\"} 1"))
    #expect(try lines().contains("bipft_last_checkpoint_step{run=\"a\\\"b\"} 5"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["metrics.prom"])
  }

  @Test func aFolderThatIsGoneIsAnErrorAndMendsItself() throws {
    let folder = try Folder()
    let sink = PrometheusFile(path: folder.path + "/x/metrics.prom", run: description(), clock: { 0 })
    sink.record(trainRecord(1))
    #expect(throws: TelemetryError.self) { try sink.flush() }
    try FileManager.default.createDirectory(atPath: folder.path + "/x", withIntermediateDirectories: true)
    try sink.flush()
    #expect(FileManager.default.fileExists(atPath: folder.path + "/x/metrics.prom"))
  }
}

@Suite struct VitalsFileTests {
  @Test func linesReadBackAndAreCut() throws {
    let folder = try Folder()
    let path = folder.path + "/vitals.jsonl"
    #expect(try VitalsFile.all(path: path).isEmpty)
    var sink = try VitalsFile(path: path, resumingAfter: nil)
    for step in [0, 5, 10] { sink.vitals(vitals(step)) }
    try sink.flush()
    #expect(try VitalsFile.all(path: path) == [0, 5, 10].map(vitals))
    sink = try VitalsFile(path: path, resumingAfter: 5)
    sink.vitals(vitals(7))
    try sink.flush()
    #expect(try VitalsFile.all(path: path) == [0, 5, 7].map(vitals))
    sink = try VitalsFile(path: path, resumingAfter: nil)
    #expect(try VitalsFile.all(path: path).isEmpty)
    try Data("{\"step\": 1, \"clipped\": 3}\n".utf8).write(to: URL(fileURLWithPath: path))
    #expect(throws: TelemetryError.self) { try VitalsFile.all(path: path) }
    try Data("{\"stop\": 1}\n".utf8).write(to: URL(fileURLWithPath: path))
    #expect(throws: TelemetryError.self) { try VitalsFile(path: path, resumingAfter: 0) }
  }
}

@Suite struct LogFileTests {
  @Test func lines() throws {
    let folder = try Folder()
    let path = folder.path + "/log.txt"
    let sink = try LogFile(path: path, host: "node1", step: 4, clock: { 0 })
    sink.state("running", step: 4, reason: "")
    sink.state("running", step: 5, reason: "")
    sink.record(trainRecord(6))
    sink.message("bipft-pretrain: warning: two\nlines")
    let again = try LogFile(path: path, host: "node2", step: 6, clock: { 61 })
    again.message("goes on")
    again.state("failed", step: 6, reason: "no room")
    again.state("failed", step: 6, reason: "no room")
    #expect(
      try String(contentsOfFile: path, encoding: .utf8) == """
        1970-01-01T00:00:00Z info host=node1 rank=0 step=4 state running
        1970-01-01T00:00:00Z warning host=node1 rank=0 step=6 bipft-pretrain: warning: two lines
        1970-01-01T00:01:01Z info host=node2 rank=0 step=6 goes on
        1970-01-01T00:01:01Z error host=node2 rank=0 step=6 state failed: no room

        """)
  }
}
