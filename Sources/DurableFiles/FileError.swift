import Glibc

/// What the system says against a file. Each module wraps it in an error of its own, with what to do next.
public enum FileError: Error, Equatable, Sendable, CustomStringConvertible {
  /// A system call failed with the errno `code`. `operation` is what "cannot … PATH" wants: "open", "rename to".
  case system(operation: String, path: String, code: Int32)
  /// A device, pipe or socket where a file is needed.
  case notAFile(path: String)
  /// The file ends where more bytes were expected.
  case endsEarly(path: String, byte: Int, expected: Int)

  public var path: String {
    switch self {
    case .system(_, let path, _), .notAFile(let path), .endsEarly(let path, _, _): path
    }
  }

  /// The errno of a failed system call, else nil.
  public var code: Int32? { if case .system(_, _, let code) = self { code } else { nil } }

  /// Why, without the path.
  public var reason: String {
    switch self {
    case .system(_, _, let code): systemReason(code)
    case .notAFile: "not a regular file"
    case .endsEarly(_, let byte, let expected): "ends at byte \(byte), expected \(expected) bytes"
    }
  }

  public var description: String {
    switch self {
    case .system(let operation, _, _): "cannot \(operation) \(path): \(reason)"
    case .notAFile, .endsEarly: "\(path): \(reason)"
    }
  }
}

/// What the system calls an errno.
public func systemReason(_ code: Int32) -> String { String(cString: strerror(code)) }
