// Names of files and folders as text, without a look at the disk. By bytes: to Swift a "/" with a combining mark after it is
// another character, and a path is no text in sentences.

private let slash = UInt8(ascii: "/")

/// The folder that holds what `path` names, as POSIX's dirname: "a" for "a/b" and "a/b/", "." for "r" and ".", "/" for "/a" and "/".
public func parentFolder(of path: String) -> String {
  let name = trimmed(path)
  if name.isEmpty { return path.isEmpty ? "." : "/" }
  guard let end = name.lastIndex(of: slash) else { return "." }
  let folder = trimmed(name[..<end])
  return folder.isEmpty ? "/" : String(decoding: folder, as: UTF8.self)
}

/// The last name of `path`, as POSIX's basename: "b" for "a/b" and "a/b/", "/" for "/", "." for the empty text.
public func lastName(of path: String) -> String {
  let name = trimmed(path)
  if name.isEmpty { return path.isEmpty ? "." : "/" }
  let start = name.lastIndex(of: slash).map { $0 + 1 } ?? name.startIndex
  return String(decoding: name[start...], as: UTF8.self)
}

/// The path of `name` in `folder`.
public func joinPath(_ folder: String, _ name: String) -> String {
  folder.utf8.last == slash ? folder + name : folder + "/" + name
}

/// The folders on the way to `path` and itself, outermost first: "a", "a/b" for "a/b/"; "/a" for "/a"; none for "/".
public func folders(on path: String) -> [String] {
  let bytes = Array(path.utf8)
  let ends = bytes.indices.filter { index in
    bytes[index] != slash && (index + 1 == bytes.count || bytes[index + 1] == slash)
  }
  return ends.map { String(decoding: bytes[...$0], as: UTF8.self) }
}

/// Without the slashes at its end; empty for "/".
private func trimmed(_ path: some Collection<UInt8>) -> ArraySlice<UInt8> {
  var bytes = Array(path)[...]
  while bytes.last == slash { bytes.removeLast() }
  return bytes
}

private func trimmed(_ path: String) -> ArraySlice<UInt8> { trimmed(path.utf8) }
