import DurableFiles
import Foundation

/// `vitals.jsonl`: the vital signs, one object a line, appended. Where a run goes on, lines of later steps are cut off first.
public final class VitalsFile: RunSink {
  private let file: AppendedFile
  private var pending: [VitalSigns] = []

  /// - Parameter step: after which the run goes on; nil is a run that begins: all lines are dropped.
  /// - Throws: `TelemetryError.file`, or `.notARecord` for a line that cannot be read.
  public init(path: String, resumingAfter step: Int?) throws(TelemetryError) {
    guard let step else {
      file = try AppendedFile(lines: path, whose: nil)
      return
    }
    file = try AppendedFile(lines: path) { line, lines throws(TelemetryError) in
      guard let own = Self.step(of: line.bytes) else {
        throw .notARecord(path: path, line: try lines.number(of: line), reason: "no step at its beginning")
      }
      return own <= step
    }
  }

  /// The step of a line as `VitalSigns.json` writes it.
  private static func step(of line: [UInt8]) -> Int? {
    let prefix = "{\"step\": "
    guard line.starts(with: prefix.utf8) else { return nil }
    let digits = line.dropFirst(prefix.utf8.count).prefix {
      (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
    }
    return Int(String(decoding: digits, as: UTF8.self))
  }

  public func record(_ record: StepRecord) {}
  public func vitals(_ vitals: VitalSigns) { pending.append(vitals) }

  public func flush() throws(TelemetryError) {
    while let next = pending.first {
      try file.append(line: next.json)
      pending.removeFirst()
    }
  }

  /// The vital signs of the file at `path`, in their order; none where there is no file. A torn last line is left out.
  ///
  /// - Throws: `TelemetryError.file`, or `.notARecord` for a whole line that cannot be read.
  public static func all(path: String) throws(TelemetryError) -> [VitalSigns] {
    if access(path, F_OK) != 0 { return [] }
    let bytes = try files { () throws(FileError) in try readFile(path) }
    var found: [VitalSigns] = []
    var start = 0
    while let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
      do throws(RecordFault) { found.append(try VitalSigns(line: Array(bytes[start..<end]))) } catch {
        throw .notARecord(path: path, line: found.count + 1, reason: error.reason)
      }
      start = end + 1
    }
    return found
  }
}
