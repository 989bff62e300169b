import Collectives
import DurableFiles
import Foundation
import TensorFiles

/// What can go wrong with checkpoints. Each description is one line: what, where, and what to do next.
public enum CheckpointError: VersionedFileError, Equatable, Sendable, CustomStringConvertible {
  /// A file could not be read or written.
  case file(FileError)
  /// A tensor file could not be opened or is not one.
  case tensorFile(TensorFileError)
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
  /// A checkpoint was not written; older ones are untouched.
  case notWritten(step: Int, reason: String)
  /// The ranks lost each other.
  case world(WorldError)

  public var description: String {
    switch self {
    case .file(let error): return error.description
    case .tensorFile(let error): return error.description
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
    case .notWritten(let step, let reason):
      return "the checkpoint of step \(step) was not written, older ones stay: \(reason)"
    case .world(let error): return error.description
    }
  }
}

extension CheckpointError {
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
  func inCheckpoint(_ path: String, file: String) -> CheckpointError {
    switch self {
    case .damagedCheckpoint, .newerFormat, .checkpointNotReadable: self
    case .file(.system(_, _, let code)) where !isDamage:
      .checkpointNotReadable(path: path, problem: description, code: code)
    default: .damagedCheckpoint(path: path, file: file, problem: description)
    }
  }
}
