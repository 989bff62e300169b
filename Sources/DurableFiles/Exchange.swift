import CMappedFiles
import Glibc

/// Lets two files or folders of one file system change names, in one step.
///
/// - Returns: false where the file system cannot; nothing has changed then.
/// - Throws: `FileError.system`.
public func exchangeFiles(_ path: String, _ other: String) throws(FileError) -> Bool {
  let code = file_exchange(path, other)
  if code == 0 { return true }
  if [EINVAL, ENOSYS, ENOTSUP].contains(code) { return false }
  throw .system(operation: "exchange with", path: other, code: code)
}
