import Foundation

/// Whole files as bytes, with the reason where the system refuses.
enum FileBytes {
  /// The bytes of a file; nil if there is none.
  static func read(_ path: String) throws(TelemetryError) -> [UInt8]? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    if descriptor < 0 {
      if errno == ENOENT { return nil }
      throw .file(operation: "open", path: path, code: errno)
    }
    defer { close(descriptor) }
    var status = stat()
    // A device or pipe has nothing that could be read back.
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw .file(operation: "read", path: path, code: EINVAL)
    }
    var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeMutableBytes {
        pread(descriptor, $0.baseAddress! + done, $0.count - done, off_t(done))
      }
      if count < 0 && errno == EINTR { continue }
      if count < 0 { throw .file(operation: "read", path: path, code: errno) }
      if count == 0 { break }
      done += count
    }
    return Array(bytes.prefix(done))
  }

  /// Replaces a file: written beside, synced, renamed, and the folder synced.
  static func replace(_ path: String, with bytes: [UInt8]) throws(TelemetryError) {
    let new = path + ".new"
    let descriptor = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    if descriptor < 0 { throw .file(operation: "open", path: new, code: errno) }
    var code = write(bytes, to: descriptor, at: 0)
    if code == 0 && fsync(descriptor) != 0 { code = errno }
    close(descriptor)
    if code == 0 && rename(new, path) != 0 { code = errno }
    if code != 0 {
      unlink(new)
      throw .file(operation: "write", path: new, code: code)
    }
    let folder = open(
      URL(fileURLWithPath: path).deletingLastPathComponent().path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if folder >= 0 {
      fsync(folder)
      close(folder)
    }
  }

  /// Writes all of `bytes` at `offset`: one `write`, and more only where the system takes less than it was given.
  ///
  /// - Returns: 0, or the errno.
  static func write(_ bytes: [UInt8], to descriptor: Int32, at offset: Int) -> Int32 {
    bytes.withUnsafeBytes { buffer in
      var done = 0
      while done < buffer.count {
        let count = pwrite(descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(offset + done))
        if count < 0 && errno != EINTR { return errno }
        if count > 0 { done += count }
      }
      return 0
    }
  }
}
