import DurableFiles

/// What can be wrong with the folder of a run. Each description is one line: what, where, and what to do next.
public enum RunFolderError: VersionedFileError, Equatable, Sendable, CustomStringConvertible {
  /// A file could not be read or written.
  case file(FileError)
  /// A JSON file of ours that cannot be understood.
  case unreadable(path: String, problem: String)
  /// A file of a later release.
  case newerFormat(path: String, version: Int, known: Int)
  /// The folder holds things that no run put there; `found` is one of them.
  case foreignFolder(path: String, found: String)
  /// The folder cannot serve a run: it cannot be made, written to or locked.
  case unusableFolder(path: String, problem: String, code: Int32)
  /// The folder holds no run.
  case noRun(path: String)
  /// Another job has the run.
  case runLocked(path: String, holder: String)
  /// Start after start brought no new checkpoint.
  case noProgress(path: String, starts: Int, step: Int, status: String, reason: String)

  public var description: String {
    switch self {
    case .file(let error): return error.description
    case .unreadable(let path, let problem): return "\(path): \(problem)"
    case .newerFormat(let path, let version, let known):
      return "\(path) has format version \(version), this release knows up to \(known); use a newer release"
    case .foreignFolder(let path, let found):
      return "\(path) is not a run of bipft: it holds \(found); "
        + "name the folder of a run, or a new or empty one"
    case .unusableFolder(let path, let problem, _):
      return "the run folder \(path) cannot be used: \(problem); choose another --run-dir, or mend that"
    case .noRun(let path): return "\(path) holds no run of bipft; give the folder that --run-dir named"
    case .runLocked(let path, let holder):
      return "\(path) is in use by another job (\(holder)); wait for it, or choose another run folder"
    case .noProgress(let path, let starts, let step, let status, let reason):
      return "\(path): \(starts) starts brought no new checkpoint (last state: \(status) at step \(step)"
        + "\(reason.isEmpty ? "" : ", \(reason)")); mend the cause, then start once with --try-again"
    }
  }
}

extension RunFolderError {
  /// This error, met in a file of the run in the folder `path`, as one of that folder if starting again cannot mend it.
  func inRunFolder(_ path: String) -> RunFolderError {
    guard case .file(.system(_, _, let code)) = self, isPermanent(code) else { return self }
    return .unusableFolder(path: path, problem: description, code: code)
  }
}
