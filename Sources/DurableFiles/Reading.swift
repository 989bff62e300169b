import Glibc

/// A file, pipe or terminal open for reading from front to back.
public final class InputFile {
  public let path: String
  private let descriptor: Int32

  public init(_ path: String) throws(FileError) {
    self.path = path
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    if descriptor < 0 { throw .system(operation: "open", path: path, code: errno) }
  }

  private init(path: String, descriptor: Int32) {
    self.path = path
    self.descriptor = descriptor
  }

  public static func standardInput() -> InputFile {
    InputFile(path: "standard input", descriptor: dup(STDIN_FILENO))
  }

  deinit { close(descriptor) }

  /// Its size in bytes; 0 for a pipe.
  ///
  /// - Throws: `FileError.system`, also for a folder.
  public func size() throws(FileError) -> Int {
    let status = try fileStatus(descriptor, path: path)
    if status.st_mode & S_IFMT == S_IFDIR { throw .system(operation: "read", path: path, code: EISDIR) }
    return Int(status.st_size)
  }

  /// Appends up to `count` bytes to `bytes`. Returns how many; 0 at the end.
  public func read(into bytes: inout [UInt8], atMost count: Int) throws(FileError) -> Int {
    let (found, code) = withUnsafeTemporaryAllocation(byteCount: count, alignment: 1) { block in
      while true {
        let found = Glibc.read(descriptor, block.baseAddress, count)
        if found < 0 && errno == EINTR { continue }
        let code = errno
        bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: block[..<max(found, 0)]))
        return (found, code)
      }
    }
    if found < 0 { throw .system(operation: "read", path: path, code: code) }
    return found
  }

  /// Hands what is left to `body`, a megabyte at a time.
  func readRest(_ body: ([UInt8]) -> Void) throws(FileError) {
    var block: [UInt8] = []
    while try read(into: &block, atMost: 1 << 20) > 0 {
      body(block)
      block.removeAll(keepingCapacity: true)
    }
  }

  /// What the system knows of it.
  fileprivate func status() throws(FileError) -> stat { try fileStatus(descriptor, path: path) }
}

/// All bytes of a file, read and not mapped: a file that is changed or cut off meanwhile is read as it then is.
///
/// - Throws: `FileError`; `notAFile` for a device, whose bytes have no end.
public func readFile(_ path: String) throws(FileError) -> [UInt8] {
  let input = try InputFile(path)
  let status = try input.status()
  let kind = status.st_mode & S_IFMT
  if kind == S_IFCHR || kind == S_IFBLK { throw .notAFile(path: path) }
  var bytes: [UInt8] = []
  bytes.reserveCapacity(Int(status.st_size))
  while try input.read(into: &bytes, atMost: 1 << 20) > 0 {}
  return bytes
}

/// All bytes of a file; nil if there is none.
public func readFileIfThere(_ path: String) throws(FileError) -> [UInt8]? {
  do throws(FileError) { return try readFile(path) } catch {
    if error.code == ENOENT { return nil }
    throw error
  }
}

/// The bytes of an open file in `range`.
///
/// - Throws: `FileError`; `endsEarly` where the file is shorter, cut off by another process, say.
public func readAll(
  _ range: Range<Int>, of descriptor: Int32, path: String
) throws(FileError) -> [UInt8] {
  var (code, done) = (Int32(0), 0)
  let bytes = [UInt8](unsafeUninitializedCapacity: range.count) { buffer, count in
    while done < range.count, code == 0 {
      let found = pread(
        descriptor, buffer.baseAddress! + done, range.count - done, off_t(range.lowerBound + done))
      if found < 0, errno == EINTR { continue }
      if found < 0 { code = errno }
      if found <= 0 { break }
      done += found
    }
    count = done
  }
  if code != 0 { throw .system(operation: "read", path: path, code: code) }
  if done < range.count {
    throw .endsEarly(path: path, byte: range.lowerBound + done, expected: range.upperBound)
  }
  return bytes
}

/// SHA-256 of a file, 64 hexadecimal digits.
///
/// - Cost: reads the file once, 1 MiB at a time.
public func fileDigest(_ path: String) throws(FileError) -> String {
  var hash = SHA256()
  try InputFile(path).readRest { hash.update($0) }
  return hash.finish()
}

/// The size of what `path` names, in bytes.
public func fileSize(_ path: String) throws(FileError) -> Int {
  var status = stat()
  if stat(path, &status) != 0 { throw .system(operation: "look at", path: path, code: errno) }
  return Int(status.st_size)
}

/// Whether `path` names anything, a link that leads nowhere included.
public func fileExists(_ path: String) -> Bool {
  var status = stat()
  return lstat(path, &status) == 0
}

/// What the system knows of an open file.
func fileStatus(_ descriptor: Int32, path: String) throws(FileError) -> stat {
  var status = stat()
  if fstat(descriptor, &status) != 0 { throw .system(operation: "look at", path: path, code: errno) }
  return status
}
