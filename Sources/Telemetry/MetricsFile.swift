import DurableFiles
import Foundation

/// `metrics.jsonl`: one record a line, appended by one process.
public final class MetricsFile: RunSink {
  private let file: AppendedFile
  /// Records that are not written yet: a full disk may keep some back.
  private var pending: [StepRecord] = []

  /// Opens the file, made if it is missing, to go on after `step`: lines of later steps and a torn last line are cut off,
  /// durably. nil is a run that begins: all lines are dropped.
  ///
  /// - Throws: `TelemetryError.file`, or `.notARecord` for a whole line that cannot be read.
  /// - Cost: reads what is cut off, and the line before it.
  public init(path: String, resumingAfter step: Int?) throws(TelemetryError) {
    guard let step else {
      file = try AppendedFile(lines: path, whose: nil)
      return
    }
    file = try AppendedFile(lines: path) { line, lines throws(TelemetryError) in
      try Self.step(of: line, lines).step <= step
    }
  }

  /// The step of the last update that the file at `path` tells of; nil if it tells of none, or there is no file.
  ///
  /// - Throws: as `init`.
  /// - Cost: reads the last lines.
  public static func lastStep(path: String) throws(TelemetryError) -> Int? {
    if access(path, F_OK) != 0 && errno == ENOENT { return nil }
    let lines = try LinesFromTheEnd(reading: path)
    var end = lines.end
    while let line = try lines.line(endingAt: end) {
      let (kind, step) = try Self.step(of: line, lines)
      if kind == .train { return step }
      end = line.start
    }
    return nil
  }

  /// What a line is of, without reading more of it than its first keys where it is as `StepRecord.json` writes them.
  private static func step(
    of line: LinesFromTheEnd.Line, _ lines: borrowing LinesFromTheEnd
  ) throws(TelemetryError) -> (kind: StepRecord.Kind, step: Int) {
    if let head = StepRecord.head(of: line.bytes) { return head }
    do throws(RecordFault) {
      let record = try StepRecord(line: line.bytes)
      return (record.kind, record.step)
    } catch {
      throw .notARecord(path: lines.path, line: try lines.number(of: line), reason: error.reason)
    }
  }

  /// Appends one line.
  ///
  /// - Throws: `TelemetryError.file`; the file then holds what it held before, and the call can be repeated.
  public func append(_ record: StepRecord) throws(TelemetryError) {
    try file.append(line: record.json)
  }

  public func record(_ record: StepRecord) { pending.append(record) }

  public func flush() throws(TelemetryError) {
    while let record = pending.first {
      try append(record)
      pending.removeFirst()
    }
  }

  /// The records of the file at `path`; a torn last line is left out.
  ///
  /// - Throws: `TelemetryError.file`, or `.notARecord` for a whole line that cannot be read.
  public static func records(path: String) throws(TelemetryError) -> [StepRecord] {
    let bytes = try files { () throws(FileError) in try readFile(path) }
    return try lines(of: bytes, path: path).map(\.record)
  }

  /// Calls `body` with each record of the file at `path`, in their order; lines that are none are left out.
  ///
  /// - Returns: how many whole lines were none.
  /// - Throws: `TelemetryError.file`.
  public static func readTolerantly(
    path: String, _ body: (StepRecord) -> Void
  ) throws(TelemetryError) -> Int {
    let bytes = try files { () throws(FileError) in try readFile(path) }
    var (start, damaged) = (0, 0)
    while let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
      if let record = try? StepRecord(line: Array(bytes[start..<end])) { body(record) } else { damaged += 1 }
      start = end + 1
    }
    return damaged
  }

  private static func lines(
    of bytes: [UInt8], path: String
  ) throws(TelemetryError) -> [(bytes: Range<Int>, record: StepRecord)] {
    var lines: [(bytes: Range<Int>, record: StepRecord)] = []
    var start = 0
    while let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
      do {
        let record = try StepRecord(line: Array(bytes[start..<end]))
        lines.append((start..<end + 1, record))
      } catch {
        throw .notARecord(path: path, line: lines.count + 1, reason: error.reason)
      }
      start = end + 1
    }
    return lines
  }
}
