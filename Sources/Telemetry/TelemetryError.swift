import Foundation

/// What can go wrong when records are written or read.
public enum TelemetryError: Error, Equatable, CustomStringConvertible, Sendable {
  /// The operating system refused an operation on a file; `code` is its errno.
  case file(operation: String, path: String, code: Int32)
  /// A line of a metrics file, counted from 1, is no record.
  case notARecord(path: String, line: Int, reason: String)

  public var description: String {
    switch self {
    case .file(let operation, let path, let code):
      let reason = String(cString: strerror(code))
      let advice = code == ENOSPC || code == EDQUOT ? "; free some space there and start again" : ""
      return "cannot \(operation) \(path): \(reason)\(advice)"
    case .notARecord(let path, let line, let reason):
      return "\(path):\(line): not a metrics record (\(reason)); mend or remove the line"
    }
  }
}
