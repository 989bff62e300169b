import CMappedFiles
import Foundation

/// A file mapped read-only into memory; unmapped with its owner.
///
/// Others may truncate a mapped file, and reading what they cut off ends the process (SIGBUS, `CMappedFiles`): files are replaced
/// whole by rename here (`replaceFile`), never changed in place.
public final class MappedFile: Sendable {
  public let path: String
  public let count: Int
  private let address: UInt
  private let place: Int32

  public init(path: String) throws(TensorFileError) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    if descriptor < 0 { throw .system(operation: "open", path: path, code: errno) }
    defer { close(descriptor) }
    var status = stat()
    if fstat(descriptor, &status) != 0 { throw .system(operation: "look at", path: path, code: errno) }
    if status.st_mode & S_IFMT == S_IFDIR { throw .system(operation: "read", path: path, code: EISDIR) }
    count = Int(status.st_size)
    self.path = path
    if count == 0 {
      address = 0
      place = -1
      return
    }
    guard let memory = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0), memory != MAP_FAILED else {
      throw .system(operation: "map", path: path, code: errno)
    }
    address = UInt(bitPattern: memory)
    place = mapped_files_add(memory, count, path)
  }

  /// Calls `body` with all bytes, which are valid only inside it.
  public func withBytes<Result, Failure: Error>(
    _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: address), count: count))
  }

  deinit {
    mapped_files_remove(place)
    if count > 0 { munmap(UnsafeMutableRawPointer(bitPattern: address), count) }
  }
}
