import DurableFiles
import Foundation

/// What can go wrong when records are written or read.
public enum TelemetryError: Error, Equatable, CustomStringConvertible, Sendable {
  /// A file could not be read or written.
  case file(FileError)
  /// A line of a metrics file, counted from 1, is no record.
  case notARecord(path: String, line: Int, reason: String)

  public var description: String {
    switch self {
    case .file(let error):
      let isFull = error.code == ENOSPC || error.code == EDQUOT
      return error.description + (isFull ? "; free some space there and start again" : "")
    case .notARecord(let path, let line, let reason):
      return "\(path):\(line): not a metrics record (\(reason)); mend or remove the line"
    }
  }
}

/// Runs `body`, whose errors are about files.
func files<Result>(_ body: () throws(FileError) -> Result) throws(TelemetryError) -> Result {
  do throws(FileError) { return try body() } catch { throw .file(error) }
}
