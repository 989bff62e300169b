import DurableFiles
import Foundation
import TensorFiles

/// An open file, read and written at given places; closed with its owner.
struct FileAccess: ~Copyable {
  private static let bufferSize = 1 << 20
  let path: String
  private let descriptor: Int32

  init(reading path: String) throws(CoordinatorError) {
    descriptor = try openFile(path, O_RDONLY, "open")
    self.path = path
  }

  /// An existing file, for reading and writing.
  init(updating path: String) throws(CoordinatorError) {
    descriptor = try openFile(path, O_RDWR, "open")
    self.path = path
  }

  /// A new file of `size` bytes whose space is reserved, so that a full disk shows now.
  init(creating path: String, size: Int) throws(CoordinatorError) {
    let descriptor = try openFile(path, O_RDWR | O_CREAT | O_EXCL, "create")
    let code = reserve(size, descriptor)
    if code != 0 {
      close(descriptor)
      throw .file(.system(operation: "reserve \(size) bytes for", path: path, code: code))
    }
    self.descriptor = descriptor
    self.path = path
  }

  deinit { close(descriptor) }

  private func failure(_ operation: String) -> CoordinatorError {
    .file(.system(operation: operation, path: path, code: errno))
  }

  func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(CoordinatorError) {
    try files { () throws(TensorFileError) in try writeAll(bytes, to: descriptor, at: offset, path: path) }
  }

  func write(_ bytes: [UInt8], at offset: Int) throws(CoordinatorError) {
    let (descriptor, path) = (descriptor, path)
    try files { () throws(TensorFileError) in
      try bytes.span.bytes.withUnsafeBytes { bytes throws(TensorFileError) in
        try writeAll(bytes, to: descriptor, at: offset, path: path)
      }
    }
  }

  func truncate(_ size: Int) throws(CoordinatorError) {
    if ftruncate(descriptor, off_t(size)) != 0 { throw failure("truncate") }
  }

  /// Makes what was written durable, and drops it from memory, so that what is read next comes from the disk.
  func sync() throws(CoordinatorError) {
    if fsync(descriptor) != 0 { throw failure("fsync") }
    posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED)
  }

  /// Reads `range` and hands it to `body` part by part, in order.
  func read(
    _ range: Range<Int>, _ body: (UnsafeRawBufferPointer) throws(CoordinatorError) -> Void
  ) throws(CoordinatorError) {
    let size = min(range.count, Self.bufferSize)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 64)
    defer { buffer.deallocate() }
    var position = range.lowerBound
    while position < range.upperBound {
      let count = pread(
        descriptor, buffer.baseAddress, min(size, range.upperBound - position), off_t(position))
      if count < 0, errno == EINTR { continue }
      if count < 0 { throw failure("read") }
      if count == 0 {
        throw .unreadable(path: path, problem: "ends at byte \(position), expected \(range.upperBound) bytes")
      }
      try body(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      position += count
    }
  }

  /// The SHA-256 of what the file holds in `range`.
  func digest(_ range: Range<Int>) throws(CoordinatorError) -> String {
    var hash = SHA256()
    try read(range) { hash.update($0) }
    return hash.finish()
  }
}

private func openFile(_ path: String, _ flags: Int32, _ operation: String) throws(CoordinatorError) -> Int32 {
  let descriptor = open(path, flags | O_CLOEXEC, 0o644)
  if descriptor < 0 { throw .file(.system(operation: operation, path: path, code: errno)) }
  return descriptor
}

/// Gives a new file its size and its space; 0 or an errno.
private func reserve(_ size: Int, _ descriptor: Int32) -> Int32 {
  if ftruncate(descriptor, off_t(size)) != 0 { return errno }
  let code = size > 0 ? reserveRoom(size, descriptor: descriptor) : 0
  // File systems that cannot reserve report a full disk when written to.
  return code == EINVAL ? 0 : code
}
