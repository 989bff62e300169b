import CMappedFiles
import Foundation

/// A file mapped into memory for reading. Every read is checked against the size that the file had when it was opened.
///
/// A file that is truncated while it is mapped makes the process fail at the missing pages (`CMappedFiles` names the file
/// then), and what was cut off within a page reads as zeros: `checkSize` finds that.
final class MappedFile: Sendable {
  let path: String
  let count: Int
  let base: UInt
  private let place: Int32

  /// - Throws: `cannotRead`, also for what is not a regular file.
  init(_ path: String) throws(CorpusError) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .cannotRead(file: path, reason: systemReason(errno)) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw .cannotRead(file: path, reason: systemReason(errno)) }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw .cannotRead(file: path, reason: "not a regular file")
    }
    self.path = path
    count = Int(status.st_size)
    if count == 0 {
      base = 0
      place = -1
    } else {
      guard let address = mmap(nil, count, PROT_READ, MAP_SHARED, descriptor, 0), address != MAP_FAILED else {
        throw .cannotRead(file: path, reason: systemReason(errno))
      }
      base = UInt(bitPattern: address)
      place = mapped_files_add(address, count, path)
    }
  }

  deinit {
    mapped_files_remove(place)
    if count > 0 { munmap(UnsafeMutableRawPointer(bitPattern: base), count) }
  }

  /// Throws `wrongSize` if the file is no longer as long as when it was opened. Call it after reading: what was read is
  /// then what the file held.
  ///
  /// - Cost: one system call.
  func checkSize() throws(CorpusError) {
    let size = try fileSize(path)
    if size != count { throw .wrongSize(file: path, expected: count, found: size) }
  }

  /// The little-endian integer at a byte offset.
  func integer<Integer: FixedWidthInteger>(at offset: Int, as type: Integer.Type) -> Integer {
    precondition(
      offset >= 0 && offset <= count - MemoryLayout<Integer>.size,
      "byte \(offset) of \(path), which has \(count)")
    let pointer = UnsafeRawPointer(bitPattern: base)! + offset
    return Integer(littleEndian: pointer.loadUnaligned(as: Integer.self))
  }
}
