import Glibc

/// Makes the names in `folder` durable: an fsync of the folder itself.
public func syncFolder(_ folder: String) throws(FileError) {
  let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
  if descriptor < 0 { throw .system(operation: "open", path: folder, code: errno) }
  defer { close(descriptor) }
  // Some network file systems cannot fsync a folder (EINVAL); their renames are synchronous.
  if fsync(descriptor) != 0, errno != EINVAL { throw .system(operation: "fsync", path: folder, code: errno) }
}

/// Makes the folder `path` and those above it, durably: the folder that holds a new one is fsynced. What is there is fine.
///
/// - Returns: those made, outermost first.
/// - Throws: `FileError.system`; those made before stay.
@discardableResult
public func createFolders(_ path: String) throws(FileError) -> [String] {
  var made: [String] = []
  for folder in folders(on: path) where !isFolder(folder) {
    if mkdir(folder, 0o755) != 0 {
      let code = errno
      // Another process may have been faster.
      if code == EEXIST, isFolder(folder) { continue }
      throw .system(operation: "create", path: folder, code: code)
    }
    made.append(folder)
    try syncFolder(parentFolder(of: folder))
  }
  return made
}

/// Makes one folder that is not there yet, in one that is.
///
/// - Throws: `FileError.system`; with EEXIST if the name is taken.
public func createFolder(_ path: String) throws(FileError) {
  if mkdir(path, 0o755) != 0 { throw .system(operation: "create", path: path, code: errno) }
}

/// Whether `path` names a folder, or a link to one.
public func isFolder(_ path: String) -> Bool {
  var status = stat()
  return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
}

/// The names in a folder, ascending by byte, "." and ".." left out.
public func folderContents(_ path: String) throws(FileError) -> [String] {
  guard let folder = opendir(path) else { throw .system(operation: "list", path: path, code: errno) }
  defer { closedir(folder) }
  var names: [String] = []
  while true {
    errno = 0
    guard let item = readdir(folder) else {
      if errno != 0 { throw .system(operation: "list", path: path, code: errno) }
      return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }
    let name = withUnsafeBytes(of: item.pointee.d_name) { bytes in
      String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    if name != "." && name != ".." { names.append(name) }
  }
}

/// Removes a folder of files, if it is there.
public func removeFolder(_ path: String) throws(FileError) {
  var status = stat()
  if lstat(path, &status) != 0 {
    if errno == ENOENT { return }
    throw .system(operation: "look at", path: path, code: errno)
  }
  for name in try folderContents(path) { try removeFile(joinPath(path, name)) }
  if rmdir(path) != 0 { throw .system(operation: "remove", path: path, code: errno) }
}
