import DurableFiles
import Foundation

/// `metrics.jsonl`: one record a line, appended by one process.
///
/// Each line goes out whole with one `write`. If the disk is full, what came of the line is cut off again, so neither
/// the next line nor the next reader meets half a one; and should even that fail, the next line goes over it.
public struct MetricsFile: ~Copyable {
  public let path: String
  private let descriptor: Int32
  /// Bytes of whole lines; the next line goes here.
  private var end: Int

  /// Opens the file, made if it is missing, to go on after `step`: lines of later steps and a torn last line are
  /// dropped. nil is a run that begins: all lines are dropped.
  ///
  /// What is kept is written to a file beside and renamed, so that a crash leaves the old file or the new one.
  ///
  /// - Throws: `TelemetryError.file`, or `.notARecord` for a whole line that cannot be read.
  public init(path: String, resumingAfter step: Int?) throws(TelemetryError) {
    (descriptor, end) = try Self.open(path, resumingAfter: step)
    self.path = path
  }

  private static func open(
    _ path: String, resumingAfter step: Int?
  ) throws(TelemetryError) -> (descriptor: Int32, end: Int) {
    let old = try files { () throws(FileError) in try readFileIfThere(path) } ?? []
    var kept: [UInt8] = []
    if let step {
      for line in try lines(of: old, path: path) where line.record.step <= step { kept += old[line.bytes] }
    }
    if kept.count != old.count { try files { () throws(FileError) in try replaceFile(path, with: kept) } }
    let descriptor = Foundation.open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
    if descriptor < 0 { throw .file(.system(operation: "open", path: path, code: errno)) }
    return (descriptor, kept.count)
  }

  /// Appends one line.
  ///
  /// - Throws: `TelemetryError.file`; the file then holds what it held before, and the call can be repeated.
  public mutating func append(_ record: StepRecord) throws(TelemetryError) {
    let bytes = Array((record.json + "\n").utf8)
    do throws(FileError) { try writeAll(bytes, to: descriptor, at: end, path: path) } catch {
      _ = ftruncate(descriptor, off_t(end))
      throw .file(error)
    }
    end += bytes.count
  }

  /// Waits until all lines are on the disk; to be called before a checkpoint that counts on them.
  ///
  /// - Throws: `TelemetryError.file`.
  public borrowing func synchronise() throws(TelemetryError) {
    do throws(FileError) { try syncFile(descriptor, path: path) } catch { throw .file(error) }
  }

  deinit { close(descriptor) }

  /// The records of the file at `path`; a torn last line is left out.
  ///
  /// - Throws: `TelemetryError.file`, or `.notARecord` for a whole line that cannot be read.
  public static func records(path: String) throws(TelemetryError) -> [StepRecord] {
    let bytes = try files { () throws(FileError) in try readFile(path) }
    return try lines(of: bytes, path: path).map(\.record)
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
