import Foundation

/// The rank that the launcher gave this process, known before MPI starts (or where it never does, as when the
/// arguments are wrong).
public struct LaunchedRank: Equatable, Sendable {
  public let rank: Int

  /// Reads the variables that mpirun, PMIx and srun set; without them the process is rank 0.
  public init(environment: [String: String]) {
    // mpirun within a SLURM job hands every rank the SLURM_PROCID of its daemon, so that one comes last.
    let names = ["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID"]
    rank = names.lazy.compactMap { environment[$0].flatMap { Int($0) } }.first ?? 0
  }

  /// That of this process.
  public static var own: LaunchedRank { LaunchedRank(environment: ProcessInfo.processInfo.environment) }

  /// One of the ranks speaks for all.
  public var speaks: Bool { rank == 0 }

  /// Writes each line of `text` to standard error, if this rank speaks; whether anybody reads it does not matter.
  public func complain(_ text: String, as program: String) {
    guard speaks else { return }
    for line in text.split(separator: "\n") {
      let bytes = Array("\(program): \(line)\n".utf8)
      _ = write(STDERR_FILENO, bytes, bytes.count)
    }
  }

  /// To be called before the program ends with `code`: mpirun kills all ranks once one fails; the others wait, so that the
  /// speaker gets to say why.
  public func waitForSpeaker(_ code: ExitCode) {
    if code != .finished && !speaks { sleep(5) }
  }
}
