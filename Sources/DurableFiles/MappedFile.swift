import CMappedFiles
import Glibc

/// A file mapped read-only into memory; unmapped with its owner. Every read is checked against the size that the file had
/// when it was opened.
///
/// Others may truncate a mapped file: reading the missing pages ends the process (SIGBUS, see `reportFaults`), and what was cut
/// off within a page reads as zeros, which a comparison of `fileSize` with `count` after reading finds. So only files that are
/// replaced whole by rename (`replaceFile`) are mapped; those that are changed in place are read (`readFile`).
public final class MappedFile: Sendable {
  public let path: String
  public let count: Int
  @usableFromInline let address: UInt
  private let place: Int32

  /// - Throws: `FileError.system`; `notAFile` for a device or pipe.
  public init(path: String) throws(FileError) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    if descriptor < 0 { throw .system(operation: "open", path: path, code: errno) }
    defer { close(descriptor) }
    let status = try fileStatus(descriptor, path: path)
    if status.st_mode & S_IFMT == S_IFDIR { throw .system(operation: "read", path: path, code: EISDIR) }
    if status.st_mode & S_IFMT != S_IFREG { throw .notAFile(path: path) }
    count = Int(status.st_size)
    self.path = path
    if count == 0 {
      address = 0
      place = -1
      return
    }
    guard let memory = mmap(nil, count, PROT_READ, MAP_SHARED, descriptor, 0), memory != MAP_FAILED else {
      throw .system(operation: "map", path: path, code: errno)
    }
    address = UInt(bitPattern: memory)
    place = mapped_files_add(memory, count, path)
  }

  /// Calls `body` with all bytes, which are valid only inside it.
  @inlinable
  public func withBytes<Result, Failure: Error>(
    _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: address), count: count))
  }

  /// The little-endian integer at a byte offset.
  @inlinable
  public func integer<Integer: FixedWidthInteger>(at offset: Int, as type: Integer.Type) -> Integer {
    precondition(
      offset >= 0 && offset <= count - MemoryLayout<Integer>.size,
      "byte \(offset) of \(path), which has \(count)")
    return withBytes {
      Integer(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: Integer.self))
    }
  }

  /// Asks the system to read the bytes of `range` from the disk in the background.
  public func prefetch(_ range: Range<Int>) {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "bytes \(range) of \(path)")
    guard !range.isEmpty else { return }
    let page = sysconf(Int32(_SC_PAGESIZE))
    let first = range.lowerBound / page * page
    // Advice only: what fails is read when it is needed.
    madvise(
      UnsafeMutableRawPointer(bitPattern: address)! + first, range.upperBound - first, Int32(MADV_WILLNEED))
  }

  /// From now on a mapped file that is cut off under this process ends it with one line, which begins with `speaker` and
  /// names the file, and with exit code `code`. Without it the process dies from a bare SIGBUS.
  public static func reportFaults(speaker: String, code: Int32) { mapped_files_report_faults(speaker, code) }

  deinit {
    mapped_files_remove(place)
    if count > 0 { munmap(UnsafeMutableRawPointer(bitPattern: address), count) }
  }
}
