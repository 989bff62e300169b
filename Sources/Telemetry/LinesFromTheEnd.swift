import DurableFiles
import Foundation

/// A file of lines that is read from its end, so that a long one costs no more than what is looked at, and goes on at the end
/// of one of them. It may be read while another process appends.
struct LinesFromTheEnd: ~Copyable {
  /// A whole line.
  struct Line {
    /// Where it begins in the file.
    let start: Int
    /// Without its end.
    let bytes: [UInt8]
  }

  let path: String
  /// The end of the last whole line; a torn one follows, or nothing.
  let end: Int
  private let size: Int
  private let descriptor: Int32
  /// Some lines.
  private static let blockSize = 1 << 12

  init(reading path: String) throws(TelemetryError) { try self.init(path, O_RDONLY) }

  /// A file that is to go on; made if it is missing.
  init(appending path: String) throws(TelemetryError) { try self.init(path, O_RDWR | O_CREAT) }

  private init(_ path: String, _ flags: Int32) throws(TelemetryError) {
    (descriptor, size, end) = try Self.open(path, flags)
    self.path = path
  }

  private static func open(
    _ path: String, _ flags: Int32
  ) throws(TelemetryError) -> (descriptor: Int32, size: Int, end: Int) {
    let descriptor = Foundation.open(path, flags | O_CLOEXEC, 0o644)
    if descriptor < 0 { throw .file(.system(operation: "open", path: path, code: errno)) }
    var status = stat()
    // A device or pipe has nothing that could be read back.
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      throw .file(.system(operation: "read", path: path, code: EINVAL))
    }
    let size = Int(status.st_size)
    do throws(TelemetryError) {
      return (descriptor, size, try lineStart(before: size, descriptor, path))
    } catch {
      close(descriptor)
      throw error
    }
  }

  deinit { close(descriptor) }

  /// The whole line that ends at `end`; nil at the beginning of the file.
  func line(endingAt end: Int) throws(TelemetryError) -> Line? {
    if end == 0 { return nil }
    let start = try Self.lineStart(before: end - 1, descriptor, path)
    return Line(start: start, bytes: try Self.read(start..<end - 1, descriptor, path))
  }

  /// The number of a line, from 1.
  ///
  /// - Cost: reads the file up to there.
  func number(of line: Line) throws(TelemetryError) -> Int {
    var count = 1
    for start in stride(from: 0, to: line.start, by: Self.blockSize) {
      count += try Self.read(start..<min(line.start, start + Self.blockSize), descriptor, path)
        .count { $0 == UInt8(ascii: "\n") }
    }
    return count
  }

  /// Drops what comes after `end`, durably, the name of a new file included.
  ///
  /// - Returns: a descriptor for writing from there on, which the caller closes.
  consuming func cut(at end: Int) throws(TelemetryError) -> Int32 {
    if end != size, ftruncate(descriptor, off_t(end)) != 0 {
      throw .file(.system(operation: "truncate", path: path, code: errno))
    }
    if end != size || size == 0 {
      try files { [descriptor, path] () throws(FileError) in
        try syncFile(descriptor, path: path)
        try syncFolder(parentFolder(of: path))
      }
    }
    let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
    if copy < 0 { throw .file(.system(operation: "open", path: path, code: errno)) }
    return copy
  }

  /// Where the line begins that holds the byte before `place`, its end left out: after the last line end before `place`.
  private static func lineStart(
    before place: Int, _ descriptor: Int32, _ path: String
  ) throws(TelemetryError) -> Int {
    var end = place
    while end > 0 {
      let start = max(0, end - blockSize)
      if let index = try read(start..<end, descriptor, path).lastIndex(of: UInt8(ascii: "\n")) {
        return start + index + 1
      }
      end = start
    }
    return 0
  }

  private static func read(
    _ range: Range<Int>, _ descriptor: Int32, _ path: String
  ) throws(TelemetryError) -> [UInt8] {
    try files { () throws(FileError) in try readAll(range, of: descriptor, path: path) }
  }
}
