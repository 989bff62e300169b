import Foundation

/// Writes the file `path` whole: to a hidden temporary beside it, fsynced, renamed over `path`, the folder fsynced.
/// After an error or a crash the old file, if any, is as it was.
///
/// - Throws: `TensorFileError.system`; the temporary is then removed.
public func replaceFile(_ path: String, with pieces: [[UInt8]]) throws(TensorFileError) {
  let folder = (path as NSString).deletingLastPathComponent
  let name = (path as NSString).lastPathComponent
  let temporary = (folder as NSString).appendingPathComponent(".\(name).\(getpid()).partial")
  do throws(TensorFileError) {
    try writeAndSync(temporary, pieces)
    if rename(temporary, path) != 0 { throw .system(operation: "rename to", path: path, code: errno) }
  } catch {
    unlink(temporary)
    throw error
  }
  try syncFolder(folder.isEmpty ? "." : folder)
}

/// Makes the names in `folder` durable: an fsync of the folder itself.
public func syncFolder(_ folder: String) throws(TensorFileError) {
  let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
  if descriptor < 0 { throw .system(operation: "open", path: folder, code: errno) }
  defer { close(descriptor) }
  // Some network file systems cannot fsync a folder (EINVAL); their renames are synchronous.
  if fsync(descriptor) != 0, errno != EINVAL { throw .system(operation: "fsync", path: folder, code: errno) }
}

private func writeAndSync(_ path: String, _ pieces: [[UInt8]]) throws(TensorFileError) {
  let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
  if descriptor < 0 { throw .system(operation: "create", path: path, code: errno) }
  defer { close(descriptor) }
  var offset = 0
  for piece in pieces {
    try piece.span.bytes.withUnsafeBytes { bytes throws(TensorFileError) in
      try writeAll(bytes, to: descriptor, at: offset, path: path)
    }
    offset += piece.count
  }
  if fsync(descriptor) != 0 { throw .system(operation: "fsync", path: path, code: errno) }
}

/// Writes all of `bytes` at `offset`; short writes and interruptions are continued.
public func writeAll(
  _ bytes: UnsafeRawBufferPointer, to descriptor: Int32, at offset: Int, path: String
) throws(TensorFileError) {
  var written = 0
  while written < bytes.count {
    let rest = UnsafeRawBufferPointer(rebasing: bytes[written...])
    let count = pwrite(descriptor, rest.baseAddress, rest.count, off_t(offset + written))
    if count < 0, errno == EINTR { continue }
    if count < 0 { throw .system(operation: "write", path: path, code: errno) }
    written += count
  }
}
