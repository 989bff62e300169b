import DurableFiles
import Foundation

/// An error that can be about a file that a run keeps.
protocol RunFileError: Error {
  static func file(_ error: FileError) -> Self
  /// What was read cannot be understood.
  static func unreadable(path: String, problem: String) -> Self
}

/// An error that can be about a file with a version.
protocol VersionedFileError: RunFileError {
  /// A file of a later release.
  static func newerFormat(path: String, version: Int, known: Int) -> Self
}

extension RunFileError {
  /// Runs `body`, whose errors are about files.
  static func files<Result: ~Copyable>(
    _ body: () throws(FileError) -> Result
  ) throws(Self) -> Result {
    do throws(FileError) { return try body() } catch { throw .file(error) }
  }

  /// Reads a `Value` from JSON that came from `path`.
  ///
  /// - Throws: `unreadable`.
  static func decodeJSON<Value: Decodable>(
    _: Value.Type, _ bytes: [UInt8], path: String
  ) throws(Self) -> Value {
    do throws(JSONFault) { return try DurableFiles.decodeJSON(Value.self, bytes) } catch {
      throw .unreadable(path: path, problem: "not the JSON that a run writes (\(summary(of: error)))")
    }
  }
}

extension VersionedFileError {
  /// The bytes of a JSON file of ours that has a `version`.
  ///
  /// - Throws: `newerFormat` if it is above `known`, before anything else is made of the file; `file`.
  static func readVersioned(_ path: String, known: Int) throws(Self) -> [UInt8] {
    let bytes = try files { () throws(FileError) in try readFile(path) }
    if let found = try? DurableFiles.decodeJSON(Version.self, bytes), found.version > known {
      throw .newerFormat(path: path, version: found.version, known: known)
    }
    return bytes
  }
}

private struct Version: Decodable { let version: Int }

/// One line about a decoding error.
private func summary(of fault: JSONFault) -> String {
  switch fault {
  case .missing(let key): "key \(key) is missing"
  case .wrongType(let key), .null(let key): "key \(key) has a wrong type"
  case .notAllowed, .notJSON: "damaged or truncated"
  }
}

/// Whether the system would say the same again: that something is not allowed, or not a file or folder as it would have to be.
public func isPermanent(_ code: Int32) -> Bool {
  [
    EACCES, EPERM, EROFS, ENOENT, EEXIST, ENOTDIR, EISDIR, ELOOP, ENAMETOOLONG, EINVAL, ENOLCK, ENOSYS,
    EOPNOTSUPP,
  ].contains(code)
}
