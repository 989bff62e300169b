import DurableFiles

/// A new `.npy` file (format 1.0 of NumPy) of float32 rows, written as they come: `numpy.load` gives rows × columns. It has
/// another name until `finish`, so it is whole or not there.
public struct NumPyFile: ~Copyable {
  /// Bytes before the data, a multiple of 64 as NumPy wants them; long enough for any number of rows.
  private static let headerSize = 128
  /// Bytes that are collected before they are written.
  private static let blockSize = 1 << 20

  private let path: String
  private let temporary: String
  private let columns: Int
  private let file: FileAccess
  private var pending: [UInt8] = []
  private var size = headerSize
  private var rows = 0
  private var isFinished = false

  /// - Throws: `FileError` where the file cannot be made.
  public init(_ path: String, columns: Int) throws(FileError) {
    self.path = path
    self.columns = columns
    temporary = temporaryPath(for: path)
    file = try FileAccess(creating: temporary, size: 0)
  }

  deinit { if !isFinished { try? removeFile(temporary) } }

  /// Adds a row.
  ///
  /// - Precondition: it has as many numbers as there are columns.
  public mutating func append(_ row: [Float]) throws(FileError) {
    precondition(row.count == columns, "\(row.count) numbers for \(columns) columns")
    for value in row {
      withUnsafeBytes(of: value.bitPattern.littleEndian) { pending.append(contentsOf: $0) }
    }
    rows += 1
    if pending.count >= Self.blockSize { try flush() }
  }

  /// Writes the header, brings all to the disk and gives the file its name, in place of an earlier one.
  public mutating func finish() throws(FileError) {
    try flush()
    try file.write(header, at: 0)
    try file.sync()
    try moveFile(temporary, to: path)
    isFinished = true
    try syncFolder(parentFolder(of: path))
  }

  private mutating func flush() throws(FileError) {
    try file.write(pending, at: size)
    size += pending.count
    pending.removeAll(keepingCapacity: true)
  }

  private var header: [UInt8] {
    var text = Array("{'descr': '<f4', 'fortran_order': False, 'shape': (\(rows), \(columns)), }".utf8)
    let start: [UInt8] = [0x93] + Array("NUMPY".utf8) + [1, 0]
    let length = Self.headerSize - start.count - 2
    text += Array(repeating: UInt8(ascii: " "), count: length - 1 - text.count) + [UInt8(ascii: "\n")]
    return start + [UInt8(length & 0xFF), UInt8(length >> 8)] + text
  }
}
