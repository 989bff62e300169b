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

  /// One of the ranks speaks for all.
  public var speaks: Bool { rank == 0 }
}
