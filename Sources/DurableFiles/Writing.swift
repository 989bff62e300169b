import Glibc

/// Writes all of `bytes` at `offset`; short writes and interruptions are continued. `path` is the file's name in errors.
public func writeAll(
  _ bytes: UnsafeRawBufferPointer, to descriptor: Int32, at offset: Int, path: String
) throws(FileError) {
  try writeRest(of: bytes, path: path) { rest, done in
    pwrite(descriptor, rest.baseAddress, rest.count, off_t(offset + done))
  }
}

public func writeAll(
  _ bytes: [UInt8], to descriptor: Int32, at offset: Int, path: String
) throws(FileError) {
  try bytes.span.bytes.withUnsafeBytes { bytes throws(FileError) in
    try writeAll(bytes, to: descriptor, at: offset, path: path)
  }
}

/// Writes all of `bytes` where the descriptor stands: pipes, terminals, files written from front to back.
public func writeAll(_ bytes: [UInt8], to descriptor: Int32, path: String) throws(FileError) {
  try bytes.span.bytes.withUnsafeBytes { bytes throws(FileError) in
    try writeRest(of: bytes, path: path) { rest, _ in write(descriptor, rest.baseAddress, rest.count) }
  }
}

/// Calls `write` with what is left and how many bytes went before, until nothing is left.
private func writeRest(
  of bytes: UnsafeRawBufferPointer, path: String, _ write: (UnsafeRawBufferPointer, Int) -> Int
) throws(FileError) {
  var done = 0
  while done < bytes.count {
    let count = write(UnsafeRawBufferPointer(rebasing: bytes[done...]), done)
    if count < 0, errno == EINTR { continue }
    if count < 0 { throw .system(operation: "write", path: path, code: errno) }
    done += count
  }
}

/// Brings what was written to an open file to the disk.
public func syncFile(_ descriptor: Int32, path: String) throws(FileError) {
  if fsync(descriptor) != 0 { throw .system(operation: "fsync", path: path, code: errno) }
}

/// Writes the file `path` whole: to a hidden temporary beside it, fsynced, renamed over `path`, the folder fsynced.
/// After an error or a crash the old file, if any, is as it was.
///
/// - Throws: `FileError.system`; the temporary is then removed.
public func replaceFile(_ path: String, with pieces: [[UInt8]]) throws(FileError) {
  let folder = parentFolder(of: path)
  let temporary = temporaryPath(for: path)
  do throws(FileError) {
    try writeFile(temporary, pieces, flags: O_TRUNC)
    try moveFile(temporary, to: path)
  } catch {
    unlink(temporary)
    throw error
  }
  try syncFolder(folder)
}

public func replaceFile(_ path: String, with bytes: [UInt8]) throws(FileError) {
  try replaceFile(path, with: [bytes])
}

/// The same for a file that another process reads now and then and that can be made anew: whole for every reader, but not
/// waited for until it is on the disk.
public func replaceFileQuickly(_ path: String, with bytes: [UInt8]) throws(FileError) {
  let temporary = temporaryPath(for: path)
  do throws(FileError) {
    try writeFile(temporary, [bytes], flags: O_TRUNC, durably: false)
    try moveFile(temporary, to: path)
  } catch {
    unlink(temporary)
    throw error
  }
}

/// The hidden name beside `path` that its bytes have until they are whole.
public func temporaryPath(for path: String) -> String {
  joinPath(parentFolder(of: path), ".\(lastName(of: path)).\(getpid()).partial")
}

/// Removes what an interrupted `replaceFile` of one of `names` left in `folder`.
public func removeTemporaries(of names: [String], in folder: String) throws(FileError) {
  for item in try folderContents(folder) where item.hasSuffix(".partial") {
    guard names.contains(where: { item.hasPrefix(".\($0).") }) else { continue }
    try removeFile(joinPath(folder, item))
  }
}

/// Writes a file that is not there yet and brings it to the disk. Its name lasts once its folder is synced too.
///
/// - Throws: `FileError.system`; with EEXIST if the file is there.
public func writeNewFile(_ path: String, _ bytes: [UInt8]) throws(FileError) {
  try writeFile(path, [bytes], flags: O_EXCL)
}

private func writeFile(
  _ path: String, _ pieces: [[UInt8]], flags: Int32, durably: Bool = true
) throws(FileError) {
  let descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0o644)
  if descriptor < 0 { throw .system(operation: "create", path: path, code: errno) }
  defer { close(descriptor) }
  for piece in pieces { try writeAll(piece, to: descriptor, path: path) }
  if durably { try syncFile(descriptor, path: path) }
}

/// Gives a file or folder another name, in place of what has it; `syncFolder` makes that last.
public func moveFile(_ path: String, to target: String) throws(FileError) {
  if rename(path, target) != 0 {
    throw .system(operation: "rename to", path: target, code: errno)
  }
}

/// Removes a file.
public func removeFile(_ path: String) throws(FileError) {
  if unlink(path) != 0 { throw .system(operation: "remove", path: path, code: errno) }
}
