/// What the environment variables say about who started this process.
public struct LaunchEnvironment: Equatable, Sendable {
  /// Whether a launcher of MPI did (mpirun, or srun with PMI or PMIx). Without one MPI is not started at all.
  public let isLaunched: Bool
  /// Tasks of the SLURM step in which this process runs; nil outside srun (in a batch script, say).
  public let slurmTasks: Int?
  /// Whether mpirun itself set the size of the world, so that a world of one is what the user asked for.
  private let sizeIsGiven: Bool

  public init(_ variables: [String: String]) {
    let launcherVariables = ["OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"]
    isLaunched = launcherVariables.contains { variables[$0] != nil }
    sizeIsGiven = variables["OMPI_COMM_WORLD_SIZE"] != nil
    if variables["SLURM_STEP_ID"] != nil, variables["SLURM_PROCID"] != nil {
      slurmTasks = (variables["SLURM_STEP_NUM_TASKS"] ?? variables["SLURM_NTASKS"]).flatMap { Int($0) } ?? 1
    } else {
      slurmTasks = nil
    }
  }

  /// Throws `WorldError.separateWorlds` if srun started several tasks and each has become a world of `size` 1.
  public func check(size: Int) throws(WorldError) {
    if size == 1, !sizeIsGiven, let slurmTasks, slurmTasks > 1 { throw .separateWorlds(tasks: slurmTasks) }
  }
}
