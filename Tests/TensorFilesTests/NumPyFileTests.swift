import DurableFiles
import Foundation
import TensorFiles
import Testing

struct NumPyFileTests {
  private let folder: TemporaryFolder
  init() throws { folder = try TemporaryFolder() }

  /// To the byte as numpy.save of NumPy 2.3 writes it, but for the length of the header, which NumPy leaves open.
  @Test func bytes() throws {
    let path = folder.path + "/a.npy"
    var file = try NumPyFile(path, columns: 3)
    try file.append([1, -2, 0.5])
    try file.append([.infinity, 0, 1e-30])
    #expect(!FileManager.default.fileExists(atPath: path))
    try file.finish()
    let bytes = try readFile(path)
    #expect(bytes.starts(with: [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59, 1, 0, 118, 0]))
    let header = String(decoding: bytes[10..<128], as: UTF8.self)
    #expect(header.hasPrefix("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } "))
    #expect(header.hasSuffix(" \n") && bytes.count == 128 + 24)
    let numbers = bytes[128...].withUnsafeBytes { data in
      (0..<6).map { data.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
    }
    #expect(numbers == [1, -2, 0.5, .infinity, 0, 1e-30])
  }

  @Test func manyRowsAndNone() throws {
    for rows in [0, 5000] {
      let path = folder.path + "/\(rows).npy"
      var file = try NumPyFile(path, columns: 100)
      for row in 0..<rows { try file.append([Float](repeating: Float(row), count: 100)) }
      try file.finish()
      let bytes = try readFile(path)
      #expect(bytes.count == 128 + rows * 400)
      #expect(String(decoding: bytes[..<128], as: UTF8.self).contains("'shape': (\(rows), 100)"))
    }
  }

  /// A file that is not finished leaves nothing, and an earlier one as it was.
  @Test func notFinished() throws {
    let path = folder.path + "/b.npy"
    try replaceFile(path, with: [7])
    do {
      var file = try NumPyFile(path, columns: 1)
      try file.append([1])
    }
    #expect(try readFile(path) == [7])
    #expect(try folderContents(folder.path) == ["b.npy"])
    #expect(throws: FileError.self) { _ = try NumPyFile(folder.path + "/none/c.npy", columns: 1) }
  }
}
