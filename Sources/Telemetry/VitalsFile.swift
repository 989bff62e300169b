import DurableFiles
import Foundation

/// `vitals.jsonl`: the vital signs, one object a line, appended. Where a run goes on, lines of later steps are cut off first.
public final class VitalsFile: RunSink {
  private let path: String
  private let descriptor: Int32
  /// Bytes of whole lines; the next line goes here.
  private var end: Int
  private var pending: [VitalSigns] = []

  /// - Parameter step: after which the run goes on; nil is a run that begins: all lines are dropped.
  /// - Throws: `TelemetryError.file`, or `.notARecord` for a line that cannot be read.
  public init(path: String, resumingAfter step: Int?) throws(TelemetryError) {
    (descriptor, end) = try Self.open(path, resumingAfter: step)
    self.path = path
  }

  private static func open(
    _ path: String, resumingAfter step: Int?
  ) throws(TelemetryError) -> (descriptor: Int32, end: Int) {
    let lines = try LinesFromTheEnd(appending: path)
    var end = 0
    if let step {
      end = lines.end
      while let line = try lines.line(endingAt: end) {
        guard let own = Self.step(of: line.bytes) else {
          throw .notARecord(path: path, line: try lines.number(of: line), reason: "no step at its beginning")
        }
        if own <= step { break }
        end = line.start
      }
    }
    return (try lines.cut(at: end), end)
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

  deinit { close(descriptor) }

  public func record(_ record: StepRecord) {}
  public func vitals(_ vitals: VitalSigns) { pending.append(vitals) }

  public func flush() throws(TelemetryError) {
    while let next = pending.first {
      let bytes = Array((next.json + "\n").utf8)
      do throws(FileError) { try writeAll(bytes, to: descriptor, at: end, path: path) } catch {
        _ = ftruncate(descriptor, off_t(end))
        throw .file(error)
      }
      end += bytes.count
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
