import CMappedFiles
import Glibc

/// An open file, read and written at given places; closed with its owner.
public struct FileAccess: ~Copyable {
  private static let bufferSize = 1 << 20
  public let path: String
  private let descriptor: Int32

  public init(reading path: String) throws(FileError) {
    descriptor = try openFile(path, O_RDONLY, "open")
    self.path = path
  }

  /// An existing file, for reading and writing.
  public init(updating path: String) throws(FileError) {
    descriptor = try openFile(path, O_RDWR, "open")
    self.path = path
  }

  /// A new file of `size` bytes whose space is reserved, so that a full disk shows now.
  public init(creating path: String, size: Int) throws(FileError) {
    let descriptor = try openFile(path, O_RDWR | O_CREAT | O_EXCL, "create")
    let code = reserve(size, descriptor)
    if code != 0 {
      close(descriptor)
      throw .system(operation: "reserve \(size) bytes for", path: path, code: code)
    }
    self.descriptor = descriptor
    self.path = path
  }

  deinit { close(descriptor) }

  public func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(FileError) {
    try writeAll(bytes, to: descriptor, at: offset, path: path)
  }

  public func write(_ bytes: [UInt8], at offset: Int) throws(FileError) {
    try writeAll(bytes, to: descriptor, at: offset, path: path)
  }

  public func truncate(_ size: Int) throws(FileError) {
    if ftruncate(descriptor, off_t(size)) != 0 {
      throw .system(operation: "truncate", path: path, code: errno)
    }
  }

  /// Makes what was written durable, and drops it from memory, so that what is read next comes from the disk.
  public func sync() throws(FileError) {
    try syncFile(descriptor, path: path)
    posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED)
  }

  /// Reads `range` and hands it to `body` part by part, in order.
  ///
  /// - Throws: `endsEarly` where the file is too short.
  public func read(_ range: Range<Int>, _ body: (UnsafeRawBufferPointer) -> Void) throws(FileError) {
    let size = min(range.count, Self.bufferSize)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 64)
    defer { buffer.deallocate() }
    var position = range.lowerBound
    while position < range.upperBound {
      let count = pread(
        descriptor, buffer.baseAddress, min(size, range.upperBound - position), off_t(position))
      if count < 0, errno == EINTR { continue }
      if count < 0 { throw .system(operation: "read", path: path, code: errno) }
      if count == 0 { throw .endsEarly(path: path, byte: position, expected: range.upperBound) }
      body(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      position += count
    }
  }

  /// The SHA-256 of what the file holds in `range`.
  public func digest(_ range: Range<Int>) throws(FileError) -> String {
    var hash = SHA256()
    try read(range) { hash.update($0) }
    return hash.finish()
  }
}

/// Reserves the first `bytes` bytes of an open file, quotas counted, without writing them. Where the file system cannot
/// reserve, asks it what is free.
///
/// - Returns: 0, or the errno of the refusal.
public func reserveRoom(_ bytes: Int, descriptor: Int32) -> Int32 {
  let code = file_room_reserve(descriptor, Int64(bytes))
  guard code == EOPNOTSUPP || code == ENOSYS else { return code }
  var status = statvfs()
  guard fstatvfs(descriptor, &status) == 0 else { return errno }
  return Int(status.f_bavail) * Int(status.f_frsize) < bytes ? ENOSPC : 0
}

private func openFile(_ path: String, _ flags: Int32, _ operation: String) throws(FileError) -> Int32 {
  let descriptor = open(path, flags | O_CLOEXEC, 0o644)
  if descriptor < 0 { throw .system(operation: operation, path: path, code: errno) }
  return descriptor
}

/// Gives a new file its size and its space; 0 or an errno.
private func reserve(_ size: Int, _ descriptor: Int32) -> Int32 {
  if ftruncate(descriptor, off_t(size)) != 0 { return errno }
  let code = size > 0 ? reserveRoom(size, descriptor: descriptor) : 0
  // File systems that cannot reserve report a full disk when written to.
  return code == EINVAL ? 0 : code
}
