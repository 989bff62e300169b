import DurableFiles
import Foundation

/// The whole of a small file.
func readFile(_ path: String) throws(CorpusError) -> [UInt8] {
  let input = try InputFile(path)
  var bytes: [UInt8] = []
  while try input.read(into: &bytes, atMost: 1 << 20) > 0 {}
  return bytes
}

/// SHA-256 of a file, 64 hexadecimal digits.
///
/// - Cost: reads the file once, 1 MiB at a time.
func fileDigest(_ path: String) throws(CorpusError) -> String {
  let input = try InputFile(path)
  var hash = SHA256()
  var block: [UInt8] = []
  while try input.read(into: &block, atMost: 1 << 20) > 0 {
    hash.update(block)
    block.removeAll(keepingCapacity: true)
  }
  return hash.finish()
}

/// The size of a regular file in bytes.
func fileSize(_ path: String) throws(CorpusError) -> Int {
  var status = stat()
  guard stat(path, &status) == 0 else { throw .cannotRead(file: path, reason: systemReason(errno)) }
  return Int(status.st_size)
}

/// The offset of the first byte that does not belong to well-formed UTF-8, nil if all do.
func firstInvalidUTF8(_ bytes: [UInt8]) -> Int? {
  do {
    _ = try UTF8Span(validating: bytes.span)
    return nil
  } catch {
    return error.byteOffsets.lowerBound
  }
}

/// A file open for reading from front to back.
final class InputFile {
  let path: String
  private let descriptor: Int32

  init(_ path: String) throws(CorpusError) {
    self.path = path
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .cannotRead(file: path, reason: systemReason(errno)) }
  }

  private init(path: String, descriptor: Int32) {
    self.path = path
    self.descriptor = descriptor
  }

  static func standardInput() -> InputFile {
    InputFile(path: "standard input", descriptor: dup(STDIN_FILENO))
  }

  deinit { close(descriptor) }

  /// Its size in bytes; 0 for a pipe.
  func size() throws(CorpusError) -> Int {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw .cannotRead(file: path, reason: systemReason(errno)) }
    guard status.st_mode & S_IFMT != S_IFDIR else {
      throw .cannotRead(file: path, reason: systemReason(EISDIR))
    }
    return Int(status.st_size)
  }

  /// Appends up to `count` bytes to `bytes`. Returns how many; 0 at the end.
  func read(into bytes: inout [UInt8], atMost count: Int) throws(CorpusError) -> Int {
    let (found, code) = withUnsafeTemporaryAllocation(byteCount: count, alignment: 1) { block in
      while true {
        let found = Foundation.read(descriptor, block.baseAddress, count)
        if found < 0 && errno == EINTR { continue }
        let code = errno
        bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: block[..<max(found, 0)]))
        return (found, code)
      }
    }
    guard found >= 0 else { throw .cannotRead(file: path, reason: systemReason(code)) }
    return found
  }
}

/// A new file, written from front to back; counts and hashes what is written.
final class OutputFile {
  let path: String
  private(set) var byteCount = 0
  private let descriptor: Int32
  private var pending: [UInt8] = []
  private var hash = SHA256()

  /// - Throws: `cannotWrite`, also when the file exists already.
  init(creating path: String) throws(CorpusError) {
    self.path = path
    descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw .cannotWrite(file: path, reason: systemReason(errno)) }
    pending.reserveCapacity(1 << 20)
  }

  deinit { close(descriptor) }

  func write(_ bytes: some Sequence<UInt8>) throws(CorpusError) {
    pending.append(contentsOf: bytes)
    if pending.count >= 1 << 20 { try flush() }
  }

  /// Writes integers little endian.
  func write<Integer: FixedWidthInteger>(integers: some Sequence<Integer>) throws(CorpusError) {
    for integer in integers {
      withUnsafeBytes(of: integer.littleEndian) { pending.append(contentsOf: $0) }
      if pending.count >= 1 << 20 { try flush() }
    }
  }

  /// Brings everything to the disk. Returns the size and SHA-256 of the file.
  func finish() throws(CorpusError) -> FileInformation {
    try flush()
    guard fsync(descriptor) == 0 else { throw .cannotWrite(file: path, reason: systemReason(errno)) }
    return FileInformation(bytes: byteCount, sha256: hash.finish())
  }

  private func flush() throws(CorpusError) {
    var done = 0
    while done < pending.count {
      let written = pending.withUnsafeBytes {
        Foundation.write(descriptor, $0.baseAddress! + done, $0.count - done)
      }
      if written < 0 {
        if errno == EINTR { continue }
        throw .cannotWrite(file: path, reason: systemReason(errno))
      }
      done += written
    }
    hash.update(pending)
    byteCount += pending.count
    pending.removeAll(keepingCapacity: true)
  }
}

/// Writes a whole new file and brings it to the disk.
func writeFile(_ bytes: [UInt8], to path: String) throws(CorpusError) {
  let output = try OutputFile(creating: path)
  try output.write(bytes)
  _ = try output.finish()
}

/// Brings the entries of a folder to the disk.
func synchroniseDirectory(_ path: String) throws(CorpusError) {
  let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
  guard descriptor >= 0 else { throw .cannotWrite(file: path, reason: systemReason(errno)) }
  defer { close(descriptor) }
  guard fsync(descriptor) == 0 else { throw .cannotWrite(file: path, reason: systemReason(errno)) }
}

/// The names in a folder, ascending by code unit, "." and ".." left out.
func entries(of directory: String) throws(CorpusError) -> [String] {
  do {
    return try FileManager.default.contentsOfDirectory(atPath: directory)
      .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  } catch {
    throw .cannotRead(file: directory, reason: "not a readable folder")
  }
}

/// Whether a path names anything.
func fileExists(_ path: String) -> Bool {
  var status = stat()
  return lstat(path, &status) == 0
}

/// Writes to standard output.
///
/// - Throws: `cannotWrite`, for example when the reader has gone.
public func writeStandardOutput(_ bytes: [UInt8]) throws(CorpusError) {
  var done = 0
  while done < bytes.count {
    let written = bytes.withUnsafeBytes {
      Foundation.write(STDOUT_FILENO, $0.baseAddress! + done, $0.count - done)
    }
    if written < 0 {
      if errno == EINTR { continue }
      throw .cannotWrite(file: "standard output", reason: systemReason(errno))
    }
    done += written
  }
}
