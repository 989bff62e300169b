import BinaryModel
import Collectives
import Coordinator
import Corpora
import DurableFiles
import Kernels
import Planning
import RunSettings
import Tasks
import Telemetry

/// What can go wrong in a run.
public enum TrainingError: Error, CustomStringConvertible, Sendable {
  /// The configuration asks for an objective that there is not.
  case unknownObjective(String, known: [String])
  /// The configuration does not say which task, or contradicts itself; the text says what and what to do.
  case incompleteTask(String)
  /// An error of a module below.
  case module(any Error & CustomStringConvertible & Sendable)
  /// More steps than `training.maximum_skipped_steps` were skipped one after the other.
  case tooManySkipped(step: Int, count: Int, reason: String)
  /// `--resume none` in a folder that has checkpoints.
  case wouldOverwrite(run: String, step: Int)
  /// `--allow-change` of a field that no run has; `suggestion` is one that it may mean.
  case unknownField(String, suggestion: String?)
  /// The configuration file or another text cannot be read.
  case unreadable(path: String, reason: String)
  /// All ranks ended together for the reason that one of them met.
  case agreed(code: Int32, message: String)

  /// One line, or one a problem.
  public var description: String {
    switch self {
    case .unknownObjective(let name, let known):
      return "objective: \(name) is not known; use \(known.joined(separator: " or "))"
    case .incompleteTask(let problem):
      return problem
    case .module(let error):
      return error.description
    case .tooManySkipped(let step, let count, let reason):
      return
        "step \(step): \(reason), and \(count == 1 ? "no step" : "\(count) steps in a row were skipped; no more") may "
        + "be skipped (training.maximum_skipped_steps); lower training.learning_rate or set training.gradient_clip, then "
        + "go on from the last checkpoint"
    case .wouldOverwrite(let run, let step):
      return
        "\(run) has checkpoints up to step \(step), and --resume none would start over; choose another --run-dir, or "
        + "remove that folder"
    case .unknownField(let field, let suggestion):
      return
        "--allow-change \(field): no run has such a field; "
        + (suggestion.map { "did you mean \($0)?" }
          ?? "use a key of the configuration, or corpus, vocabulary, schedule")
    case .unreadable(let path, let reason):
      return "\(path): \(reason)"
    case .agreed(_, let message):
      return message
    }
  }

  /// How a program ends that met this error.
  public var exitCode: ExitCode {
    switch self {
    case .unknownObjective, .incompleteTask, .wouldOverwrite, .unknownField, .unreadable: .doNotRestart
    case .tooManySkipped: .failed
    case .module(let error): Self.exitCode(of: error)
    case .agreed(let code, _): ExitCode(rawValue: code) ?? .failed
    }
  }

  /// The same of any error: what lies in the configuration, the data or the command is not mended by a restart; what
  /// lies in files, memory or the network may be.
  public static func exitCode(of error: any Error) -> ExitCode {
    switch error {
    case let error as TrainingError: error.exitCode
    case let error as CorpusError: ExitCode(rawValue: error.exitCode) ?? .failed
    case is ConfigurationError, is PlanningError, is ModelError, is KernelError: .doNotRestart
    case let error as TaskError:
      if case .file(let inner) = error { exitCode(of: inner) } else { .doNotRestart }
    case let error as CheckpointError:
      switch error {
      case .file(let inner): exitCode(of: inner)
      case .checkpointNotReadable(_, _, let code): isPermanent(code) ? .doNotRestart : .failed
      case .world, .notWritten: .failed
      default: .doNotRestart
      }
    case let error as RunFolderError:
      if case .file(let inner) = error { exitCode(of: inner) } else { .doNotRestart }
    case let error as PreflightError:
      switch error {
      case .file(let inner): exitCode(of: inner)
      case .noRoom: .failed
      default: .doNotRestart
      }
    case is ScheduleError: .doNotRestart
    case is ReplicaError: .failed
    case let error as FileError:
      switch error {
      case .system(_, _, let code): isPermanent(code) ? .doNotRestart : .failed
      case .notAFile: .doNotRestart
      case .endsEarly: .failed
      }
    case let error as TelemetryError:
      switch error {
      case .file(let inner): exitCode(of: inner)
      case .notARecord: .doNotRestart
      }
    case let error as WorldError:
      switch error {
      case .agreedFailure(let code, _, _): ExitCode(rawValue: code) ?? .failed
      case .separateWorlds: .doNotRestart
      case .operation, .alreadyRun: .failed
      }
    default: .failed
    }
  }
}

/// Runs `body`, whose errors are those of a module below.
func inModule<Result, Failure: Error & CustomStringConvertible & Sendable>(
  _ body: () throws(Failure) -> Result
) throws(TrainingError) -> Result {
  do throws(Failure) { return try body() } catch { throw .module(error) }
}

/// The exit codes of `bipft-pretrain`, the contract with whatever restarts it.
public enum ExitCode: Int32, CaseIterable, Sendable {
  /// The run is complete.
  case finished = 0
  /// The run failed in a way that a restart may mend.
  case failed = 70
  /// A stop signal came; the run is saved and goes on when started again.
  case preempted = 75
  /// Starting again cannot help: the configuration or the data must change first.
  case doNotRestart = 78
}
