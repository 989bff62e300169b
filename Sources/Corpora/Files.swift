import DurableFiles
import Foundation

/// Runs `body`, which reads files.
func reading<Result>(_ body: () throws(FileError) -> Result) throws(CorpusError) -> Result {
  do throws(FileError) { return try body() } catch {
    throw .cannotRead(file: error.path, reason: error.reason)
  }
}

/// Runs `body`, which writes files.
func writing<Result>(_ body: () throws(FileError) -> Result) throws(CorpusError) -> Result {
  do throws(FileError) { return try body() } catch {
    throw .cannotWrite(file: error.path, reason: error.reason)
  }
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

extension InputFile {
  /// Opens a file; its name in errors is `path`.
  static func open(_ path: String) throws(CorpusError) -> InputFile {
    try reading { () throws(FileError) in try InputFile(path) }
  }

  /// Appends up to a megabyte to `bytes`. Returns whether there was anything left.
  func readMore(into bytes: inout [UInt8]) throws(CorpusError) -> Bool {
    try reading { () throws(FileError) in try read(into: &bytes, atMost: 1 << 20) } > 0
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
    try writing { () throws(FileError) in try syncFile(descriptor, path: path) }
    return FileInformation(bytes: byteCount, sha256: hash.finish())
  }

  private func flush() throws(CorpusError) {
    try writing { () throws(FileError) in try writeAll(pending, to: descriptor, path: path) }
    hash.update(pending)
    byteCount += pending.count
    pending.removeAll(keepingCapacity: true)
  }
}

/// Writes to standard output.
///
/// - Throws: `cannotWrite`, for example when the reader has gone.
public func writeStandardOutput(_ bytes: [UInt8]) throws(CorpusError) {
  try writing { () throws(FileError) in try writeAll(bytes, to: STDOUT_FILENO, path: "standard output") }
}
