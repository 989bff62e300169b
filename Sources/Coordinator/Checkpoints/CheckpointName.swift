import Foundation

extension CheckpointStore {
  /// What somebody means by the name of a checkpoint.
  public enum Meaning {
    /// This folder, which holds a checkpoint.
    case checkpoint(String)
    /// The newest one of these.
    case store(CheckpointStore)
  }

  /// What `name` means: the folder of a checkpoint, that of a run, its `checkpoints`, the file `latest` in there; or, where
  /// nothing has that path, a checkpoint of the run in the folder `run`.
  ///
  /// - Throws: `noCheckpoint`; `checkpointNotReadable` where the system does not let it be looked at.
  public static func resolve(_ name: String, run: String) throws(CheckpointError) -> Meaning {
    let own = run + "/checkpoints/" + name
    guard try kind(of: name) != nil else {
      if !name.hasPrefix("/"), !name.hasPrefix("."), try kind(of: own) == S_IFDIR { return .checkpoint(own) }
      throw .noCheckpoint(path: name, problem: "there is no such folder")
    }
    var path = name
    while path.count > 1, path.hasSuffix("/") { path.removeLast() }
    if try kind(of: path) != S_IFDIR {
      let words = path.split(separator: "/", omittingEmptySubsequences: false)
      guard words.last == "latest" else { throw .noCheckpoint(path: name, problem: "it is a file") }
      let folder = words.dropLast().joined(separator: "/")
      return .store(CheckpointStore(path: words.count == 1 ? "." : folder.isEmpty ? "/" : folder))
    }
    if try kind(of: path + "/checkpoints") == S_IFDIR {
      return .store(CheckpointStore(path: path + "/checkpoints"))
    }
    for file in [CheckpointManifest.fileName, CheckpointTensors.modelFile, CheckpointTensors.optimizerFile]
    where try kind(of: path + "/" + file) != nil {
      return .checkpoint(path)
    }
    if try !CheckpointStore(path: path).list().isEmpty { return .store(CheckpointStore(path: path)) }
    throw .noCheckpoint(path: name, problem: "the folder holds neither a checkpoint nor a run")
  }

  /// The file type of what `path` names, links followed; nil if there is nothing.
  private static func kind(of path: String) throws(CheckpointError) -> mode_t? {
    var status = stat()
    if stat(path, &status) == 0 { return status.st_mode & S_IFMT }
    let code = errno
    if code == ENOENT || code == ENOTDIR { return nil }
    throw .checkpointNotReadable(
      path: path, problem: String(cString: strerror(code)), code: code)
  }
}
