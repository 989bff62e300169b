import DurableFiles
import Foundation
import Testing

@Suite struct FileTests {
  let folder: TemporaryFolder
  init() throws { folder = try TemporaryFolder() }

  @Test func foldersAreMadeForAnyPath() throws {
    // Relative paths are seen from the working folder, so each is tried from one of its own.
    for (path, made) in [
      ("r", ["r"]), ("é", ["é"]), ("s/", ["s"]), (".", []), ("/", []), ("a/b", ["a", "a/b"]),
      ("a/b/c/", ["a/b/c"]), ("x/../y", ["x", "x/../y"]), ("a/\u{301}b", ["a/\u{301}b"]),
    ] {
      let base = folder.path + "/"
      let absolute = path.hasPrefix("/") ? path : base + path
      let found = try createFolders(absolute)
      #expect(found.map { Array($0.utf8) } == made.map { Array((base + $0).utf8) })
      #expect(isFolder(absolute))
      #expect(try createFolders(absolute) == [])
    }
  }

  /// One-character names in the working folder itself, in a process whose working folder that is.
  @Test func foldersAreMadeInTheWorkingFolder() throws {
    let before = FileManager.default.currentDirectoryPath
    #expect(chdir(folder.path) == 0)
    defer { chdir(before) }
    for path in ["r", "é", "q/", "."] {
      try createFolders(path)
      #expect(isFolder(path))
    }
    try replaceFile("z", with: Array("1".utf8))
    #expect(try readFile("z") == Array("1".utf8))
    #expect(try folderContents(".") == ["q", "r", "z", "é"])
  }

  @Test func aFileInTheWayIsNamed() throws {
    let file = try folder.write("file", "")
    #expect(throws: FileError.system(operation: "create", path: file, code: EEXIST)) {
      try createFolders(file)
    }
    #expect(throws: FileError.system(operation: "create", path: file, code: EEXIST)) {
      try createFolders(file + "/below")
    }
  }

  @Test func replacingLeavesTheOldFileOrTheNew() throws {
    let path = try folder.write("a", "old")
    try replaceFile(path, with: [Array("ne".utf8), [], Array("w".utf8)])
    #expect(try folder.text("a") == "new")
    #expect(try folder.names == ["a"])
    mkdir(folder.file("taken"), 0o755)
    #expect(throws: FileError.system(operation: "rename to", path: folder.file("taken"), code: EISDIR)) {
      try replaceFile(folder.file("taken"), with: [1])
    }
    #expect(try folder.names == ["a", "taken"])
    #expect(throws: FileError.self) { try replaceFile(folder.file("none/a"), with: [1]) }
  }

  @Test func whatAnInterruptedReplacementLeftIsRemoved() throws {
    for name in [".a.123.partial", ".b.1.partial", "a", ".a.123"] { try folder.write(name, "") }
    try removeTemporaries(of: ["a"], in: folder.path)
    #expect(try folder.names == [".a.123", ".b.1.partial", "a"])
  }

  @Test func newFilesReplaceNothing() throws {
    let path = folder.file("new")
    try writeNewFile(path, [1, 2])
    #expect(throws: FileError.system(operation: "create", path: path, code: EEXIST)) {
      try writeNewFile(path, [3])
    }
    #expect(try readFile(path) == [1, 2])
  }

  @Test func wholeFilesAreRead() throws {
    let bytes = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    try writeNewFile(folder.file("large"), bytes)
    #expect(try readFile(folder.file("large")) == bytes)
    #expect(try fileSize(folder.file("large")) == bytes.count)
    #expect(try fileDigest(folder.file("large")) == SHA256.digest(bytes))
    #expect(try readFileIfThere(folder.file("none")) == nil)
    #expect(throws: FileError.system(operation: "open", path: folder.file("none"), code: ENOENT)) {
      try readFile(folder.file("none"))
    }
    #expect(throws: FileError.system(operation: "read", path: folder.path, code: EISDIR)) {
      try readFile(folder.path)
    }
    #expect(throws: FileError.notAFile(path: "/dev/zero")) { try readFile("/dev/zero") }
  }

  /// What is read is what the file holds then, whatever happens to it afterwards.
  @Test func aFileThatIsCutOffIsReadAsItIs() throws {
    let path = try folder.write("f", "0123456789")
    let before = try readFile(path)
    truncate(path, 3)
    #expect(before == Array("0123456789".utf8))
    #expect(try readFile(path) == Array("012".utf8))
  }

  @Test func placesOfAnOpenFile() throws {
    let path = folder.file("f")
    do {
      let file = try FileAccess(creating: path, size: 10)
      try file.write([1, 2, 3], at: 4)
      try file.sync()
    }
    #expect(try readFile(path) == [0, 0, 0, 0, 1, 2, 3, 0, 0, 0])
    let file = try FileAccess(reading: path)
    #expect(try file.digest(4..<7) == SHA256.digest([1, 2, 3]))
    #expect(throws: FileError.endsEarly(path: path, byte: 10, expected: 12)) { try file.digest(0..<12) }
    #expect(
      throws: FileError.system(operation: "reserve \(1 << 60) bytes for", path: folder.file("g"), code: EFBIG)
    ) {
      _ = try FileAccess(creating: folder.file("g"), size: 1 << 60)
    }
  }

  @Test func bytesOfAnOpenFile() throws {
    let path = try folder.write("f", "0123456789")
    let descriptor = open(path, O_RDONLY)
    defer { close(descriptor) }
    #expect(try readAll(3..<7, of: descriptor, path: path) == Array("3456".utf8))
    #expect(try readAll(4..<4, of: descriptor, path: path) == [])
    #expect(throws: FileError.endsEarly(path: path, byte: 10, expected: 11)) {
      try readAll(8..<11, of: descriptor, path: path)
    }
    #expect(throws: FileError.system(operation: "read", path: path, code: EBADF)) {
      try readAll(0..<1, of: -1, path: path)
    }
  }

  @Test func oneFolderIsMadeOnce() throws {
    try createFolder(folder.file("new"))
    #expect(throws: FileError.system(operation: "create", path: folder.file("new"), code: EEXIST)) {
      try createFolder(folder.file("new"))
    }
    #expect(throws: FileError.system(operation: "create", path: folder.file("a/b"), code: ENOENT)) {
      try createFolder(folder.file("a/b"))
    }
  }

  @Test func pipesTakeAllThatIsWritten() throws {
    var ends: [Int32] = [0, 0]
    #expect(pipe(&ends) == 0)
    // More than a pipe holds, so that writing goes on piece by piece while the other end reads.
    let bytes = (0..<500_000).map { UInt8(truncatingIfNeeded: $0 &* 3) }
    let writer = ends[1]
    Thread.detachNewThread {
      try? writeAll(bytes, to: writer, path: "pipe")
      close(writer)
    }
    #expect(try readFile("/dev/fd/\(ends[0])") == bytes)
    close(ends[0])
    #expect(throws: FileError.system(operation: "write", path: "full", code: ENOSPC)) {
      let full = open("/dev/full", O_WRONLY)
      defer { close(full) }
      do { try writeAll([1], to: full, path: "full") } catch { throw error }
    }
  }

  @Test func mappedFiles() throws {
    let path = folder.file("m")
    try writeNewFile(path, [1, 2, 3, 4, 5, 6, 7, 8, 9])
    let file = try MappedFile(path: path)
    #expect(file.count == 9)
    #expect(file.integer(at: 1, as: UInt64.self) == 0x0908_0706_0504_0302)
    #expect(file.integer(at: 8, as: Int8.self) == 9)
    #expect(file.withBytes { Array($0) } == [1, 2, 3, 4, 5, 6, 7, 8, 9])
    try writeNewFile(folder.file("empty"), [])
    #expect(try MappedFile(path: folder.file("empty")).withBytes { $0.count } == 0)
    #expect(throws: FileError.system(operation: "read", path: folder.path, code: EISDIR)) {
      try MappedFile(path: folder.path)
    }
    #expect(throws: FileError.notAFile(path: "/dev/null")) { try MappedFile(path: "/dev/null") }
  }

  @Test func foldersAreListedByByteAndRemoved() throws {
    for name in ["b", "B", "é", ".h", "a"] { try folder.write(name, "") }
    #expect(try folderContents(folder.path) == [".h", "B", "a", "b", "é"])
    try removeFolder(folder.path)
    #expect(!fileExists(folder.path))
    try removeFolder(folder.path)
    #expect(throws: FileError.system(operation: "list", path: folder.path, code: ENOENT)) {
      try folderContents(folder.path)
    }
  }

  @Test func errorsAreOneLine() {
    let error = FileError.system(operation: "open", path: "/x", code: ENOENT)
    #expect("\(error)" == "cannot open /x: No such file or directory")
    #expect("\(FileError.notAFile(path: "/x"))" == "/x: not a regular file")
    #expect(
      "\(FileError.endsEarly(path: "/x", byte: 3, expected: 9))" == "/x: ends at byte 3, expected 9 bytes")
  }
}
