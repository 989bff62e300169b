import Collectives
import DurableFiles
import Foundation
import TensorFiles

/// What can go wrong around a run. Each description is one line: what, where, and what to do next.
public enum CoordinatorError: Error, Equatable, Sendable, CustomStringConvertible {
  /// A file could not be read or written.
  case file(FileError)
  /// A tensor file could not be opened or is not one.
  case tensorFile(TensorFileError)
  /// An epoch would have no step.
  case tooFewSamples(samples: Int, globalBatch: Int)
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
  /// Ranks hold other weights than the rest.
  case replicasDiffer(step: Int, ranks: [String], others: Int)
  /// A JSON file of ours that cannot be understood.
  case unreadable(path: String, problem: String)
  /// A file of a later release.
  case newerFormat(path: String, version: Int, known: Int)
  /// A file of a checkpoint is not what its manifest says.
  case damagedCheckpoint(path: String, file: String, problem: String)
  /// A file of a checkpoint cannot be read now, which need not be damage: an error of the disk or network, no permission.
  case checkpointNotReadable(path: String, problem: String, code: Int32)
  /// What was named is no checkpoint, and holds none.
  case noCheckpoint(path: String, problem: String)
  /// There are checkpoints, and none is whole.
  case noValidCheckpoint(path: String, damage: [String])
  /// The checkpoint is of another model; a nil shape means the tensor does not exist there.
  case otherShape(checkpoint: String, tensor: String, stored: [Int]?, wanted: [Int]?, key: String?)
  /// The tensors fit, but sizes differ that show in no shape (the number of heads).
  case otherSizes(checkpoint: String, differences: String)
  /// Something that defines the run is not what it was when the checkpoint was written.
  case changed(checkpoint: String, field: String, stored: String, current: String)
  /// Ranks that cannot compute the same bits; at least one line.
  case preflight([String])
  /// The run's folder on a rank's host is not the one that rank 0 has.
  case notShared(path: String, rank: Int, host: String)
  /// A disk too full to save on.
  case noRoom(path: String, checkpoints: Int, bytes: Int, reason: String)
  /// The ranks lost each other.
  case world(WorldError)
  /// A checkpoint was not written; older ones are untouched.
  case notWritten(step: Int, reason: String)

  public var description: String {
    switch self {
    case .file(let error): return error.description
    case .tensorFile(let error): return error.description
    case .tooFewSamples(let samples, let globalBatch):
      return "the corpus gives \(samples) samples, fewer than training.global_batch = \(globalBatch); "
        + "use more text, or a training.global_batch of at most \(samples)"
    case .foreignFolder(let path, let found):
      return "\(path) is not a run of bipft: it holds \(found); choose a new or empty folder"
    case .unusableFolder(let path, let problem, _):
      return "the run folder \(path) cannot be used: \(problem); choose another --run-dir, or mend that"
    case .noRun(let path): return "\(path) holds no run of bipft; give the folder that --run-dir named"
    case .runLocked(let path, let holder):
      return "\(path) is in use by another job (\(holder)); wait for it, or choose another run folder"
    case .noProgress(let path, let starts, let step, let status, let reason):
      return "\(path): \(starts) starts brought no new checkpoint (last state: \(status) at step \(step)"
        + "\(reason.isEmpty ? "" : ", \(reason)")); mend the cause, then start once with --try-again"
    case .replicasDiffer(let step, let ranks, let others):
      return
        "step \(step): \(ranks.joined(separator: ", ")) \(ranks.count == 1 ? "holds" : "hold") other weights than "
        + "\(others == 1 ? "the other rank" : "the other \(others) ranks"): the memory or network of a host is "
        + "failing; check it, then go on from the last checkpoint"
    case .unreadable(let path, let problem): return "\(path): \(problem)"
    case .newerFormat(let path, let version, let known):
      return "\(path) has format version \(version), this release knows up to \(known); use a newer release"
    case .damagedCheckpoint(let path, let file, let problem):
      return "checkpoint \(path) is damaged: \(file): \(problem)"
    case .checkpointNotReadable(let path, let problem, _):
      return
        "checkpoint \(path) cannot be read now, which need not be damage: \(problem); mend that and start again, or go on "
        + "from another one with --resume PATH"
    case .noCheckpoint(let path, let problem):
      return
        "\(path) is no checkpoint: \(problem); use --resume auto, none, latest, the folder of a run, or that of a "
        + "checkpoint as RUN/checkpoints/\(checkpointName(step: 100))"
    case .noValidCheckpoint(let path, let damage):
      return
        "\(path) holds \(damage.count) checkpoint(s) and none is valid (\(damage.joined(separator: "; "))); "
        + "restore one, or start anew in another run folder"
    case .otherShape(let checkpoint, let tensor, let stored, let wanted, let key):
      let reason = key.map { " (\($0))" } ?? ""
      return "checkpoint \(checkpoint) is of another model\(reason): tensor \(tensor) has "
        + "\(stored.map { "shape \($0)" } ?? "no place") there and \(wanted.map { "shape \($0)" } ?? "no place") "
        + "in this configuration"
    case .otherSizes(let checkpoint, let differences):
      return "checkpoint \(checkpoint) is of another model: \(differences)"
    case .changed(let checkpoint, let field, let stored, let current):
      return "checkpoint \(checkpoint) was written with \(field) = \(stored), now it is \(current); "
        + "set it back, or pass --allow-change \(field)"
    case .preflight(let problems): return problems.joined(separator: "\n")
    case .notShared(let path, let rank, let host):
      return
        "rank \(rank) (\(host)): \(path) is not the folder that rank 0 has there; put the run on a file system that "
        + "all hosts share, under the same path (--run-dir)"
    case .noRoom(let path, let checkpoints, let bytes, let reason):
      let room =
        "\(bytes / 1_000_000 + 1) MB for \(checkpoints == 1 ? "a checkpoint" : "\(checkpoints) checkpoints")"
      return "\(path): no room of \(room): \(reason); free some, or choose another --run-dir"
    case .world(let error): return error.description
    case .notWritten(let step, let reason):
      return "the checkpoint of step \(step) was not written, older ones stay: \(reason)"
    }
  }
}

extension CoordinatorError {
  /// Of an error met in a file of a checkpoint: whether it tells that the file is not what was written. That no such file is
  /// there is an answer, too; whatever else the system says may pass, and tells nothing.
  var isDamage: Bool {
    switch self {
    case .damagedCheckpoint, .unreadable, .file(.endsEarly), .file(.notAFile): true
    case .file(.system(_, _, let code)): [ENOENT, ENOTDIR, EISDIR].contains(code)
    default: false
    }
  }

  /// This error, met in `file` of the checkpoint at `path`, as one of that checkpoint.
  func inCheckpoint(_ path: String, file: String) -> CoordinatorError {
    switch self {
    case .damagedCheckpoint, .newerFormat, .checkpointNotReadable: self
    case .file(.system(_, _, let code)) where !isDamage:
      .checkpointNotReadable(path: path, problem: description, code: code)
    default: .damagedCheckpoint(path: path, file: file, problem: description)
    }
  }

  /// This error, met in a file of the run in the folder `path`, as one of that folder if starting again cannot mend it.
  func inRunFolder(_ path: String) -> CoordinatorError {
    guard case .file(.system(_, _, let code)) = self, isPermanent(code) else { return self }
    return .unusableFolder(path: path, problem: description, code: code)
  }
}

/// Whether the system would say the same again: that something is not allowed, or not a file or folder as it would have to be.
public func isPermanent(_ code: Int32) -> Bool {
  [
    EACCES, EPERM, EROFS, ENOENT, EEXIST, ENOTDIR, EISDIR, ELOOP, ENAMETOOLONG, EINVAL, ENOLCK, ENOSYS,
    EOPNOTSUPP,
  ].contains(code)
}

/// Runs `body`, whose errors are about files.
func files<Result: ~Copyable>(
  _ body: () throws(FileError) -> Result
) throws(CoordinatorError) -> Result {
  do throws(FileError) { return try body() } catch { throw .file(error) }
}
