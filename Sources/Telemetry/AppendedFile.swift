import DurableFiles
import Foundation

/// A file that one process appends records to. Each goes out whole: what came of one that could not be written is cut off again, so
/// that neither the next one nor a reader meets half a record; should even that fail, the next one goes over it.
final class AppendedFile {
  let path: String
  private let descriptor: Int32
  /// Bytes of whole records; the next one goes here.
  private var end: Int

  /// A file of lines, made if it is missing, to go on after the last line that is to stay, durably cut there; a torn last line never
  /// stays.
  ///
  /// - Parameter stays: asked of one line after the other, from the last one on, until one stays; nil keeps none.
  /// - Throws: `TelemetryError.file`, and what `stays` throws.
  /// - Cost: reads what is cut off, and the line before it.
  convenience init(
    lines path: String,
    whose stays: ((LinesFromTheEnd.Line, borrowing LinesFromTheEnd) throws(TelemetryError) -> Bool)?
  ) throws(TelemetryError) {
    let lines = try LinesFromTheEnd(appending: path)
    var end = 0
    if let stays {
      end = lines.end
      while let line = try lines.line(endingAt: end), try !stays(line, lines) { end = line.start }
    }
    self.init(path: path, descriptor: try lines.cut(at: end), end: end)
  }

  /// A file of which the first `end` bytes are whole records.
  ///
  /// - Throws: `TelemetryError.file`.
  convenience init(existing path: String, end: Int) throws(TelemetryError) {
    let descriptor = Foundation.open(path, O_WRONLY | O_CLOEXEC)
    if descriptor < 0 { throw .file(.system(operation: "open", path: path, code: errno)) }
    self.init(path: path, descriptor: descriptor, end: end)
  }

  private init(path: String, descriptor: Int32, end: Int) {
    (self.path, self.descriptor, self.end) = (path, descriptor, end)
  }

  deinit { close(descriptor) }

  /// Appends a record with one `write`.
  ///
  /// - Throws: `TelemetryError.file`; the file then holds what it held before, and the call can be repeated.
  func append(_ bytes: [UInt8]) throws(TelemetryError) {
    do throws(FileError) { try writeAll(bytes, to: descriptor, at: end, path: path) } catch {
      _ = ftruncate(descriptor, off_t(end))
      throw .file(error)
    }
    end += bytes.count
  }

  /// Appends a line.
  func append(line: String) throws(TelemetryError) { try append(Array((line + "\n").utf8)) }
}
