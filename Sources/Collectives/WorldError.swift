/// What the ranks of a world do together; names the operation in errors and traffic counters.
public enum WorldOperation: String, CaseIterable, Sendable {
  case start
  case finish
  case barrier
  case broadcast
  case allGather = "all-gather"
  case reduceScatter = "reduce-scatter"
  case allReduce = "all-reduce"
  case scatter
  case maximum
  case counters
}

/// What can go wrong between ranks.
public enum WorldError: Error, Equatable, Sendable, CustomStringConvertible {
  /// MPI reported `code` for an operation on `rank`; the world is unusable, and only `World.abort` ends it cleanly.
  case operation(name: String, code: Int, text: String, rank: Int)
  /// A launcher started `tasks` processes, but this one sees a world of one.
  case separateWorlds(tasks: Int)
  /// `World.run` was called a second time in this process.
  case alreadyRun
  /// Rank `rank` failed and all ranks agreed to end together with exit code `code`; rank 0 prints `message`.
  case agreedFailure(code: Int32, message: String, rank: Int)

  public var description: String {
    switch self {
    case .operation(let name, let code, let text, let rank):
      "\(name) failed on rank \(rank): \(text) (MPI error \(code)); look for the rank that ended first, then start the job again"
    case .separateWorlds(let tasks):
      "SLURM started \(tasks) tasks, but each is a world of one rank: use srun --mpi=pmix, or mpirun inside sbatch"
    case .alreadyRun:
      "the world of ranks was entered twice in one process; MPI can be started only once"
    case .agreedFailure(_, let message, _):
      message
    }
  }
}

/// Why one rank cannot go on: the exit code of the job and one line for the user.
public struct WorldFailure: Equatable, Sendable {
  public var code: Int32
  public var message: String

  public init(code: Int32, message: String) {
    self.code = code
    self.message = message
  }
}
