import DurableFiles

/// What a look before the start finds. Each description is one line: what, where, and what to do next.
public enum PreflightError: RunFileError, Equatable, Sendable, CustomStringConvertible {
  /// A file could not be read or written.
  case file(FileError)
  /// What was read cannot be understood.
  case unreadable(path: String, problem: String)
  /// Ranks that cannot compute the same bits; at least one line.
  case preflight([String])
  /// The run's folder on a rank's host is not the one that rank 0 has.
  case notShared(path: String, rank: Int, host: String)
  /// A disk too full to save on.
  case noRoom(path: String, checkpoints: Int, bytes: Int, reason: String)

  public var description: String {
    switch self {
    case .file(let error): return error.description
    case .unreadable(let path, let problem): return "\(path): \(problem)"
    case .preflight(let problems): return problems.joined(separator: "\n")
    case .notShared(let path, let rank, let host):
      return
        "rank \(rank) (\(host)): \(path) is not the folder that rank 0 has there; put the run on a file system that "
        + "all hosts share, under the same path (--run-dir)"
    case .noRoom(let path, let checkpoints, let bytes, let reason):
      let room =
        "\(bytes / 1_000_000 + 1) MB for \(checkpoints == 1 ? "a checkpoint" : "\(checkpoints) checkpoints")"
      return "\(path): no room of \(room): \(reason); free some, or choose another --run-dir"
    }
  }
}
