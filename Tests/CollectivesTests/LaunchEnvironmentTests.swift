import Collectives
import Testing

@Suite struct LaunchEnvironmentTests {
  @Test func nobodyLaunched() throws {
    let environment = LaunchEnvironment(["HOME": "/home/ada"])
    #expect(!environment.isLaunched)
    #expect(environment.slurmTasks == nil)
    try environment.check(size: 1)
  }

  @Test(arguments: ["OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"]) func launched(by variable: String) {
    #expect(LaunchEnvironment([variable: "1"]).isLaunched)
  }

  @Test func aBatchScriptMayBeAWorldOfOne() throws {
    let environment = LaunchEnvironment(["SLURM_NTASKS": "8", "SLURM_PROCID": "0"])
    #expect(environment.slurmTasks == nil)
    try environment.check(size: 1)
  }

  @Test(arguments: [[:], ["PMI_RANK": "0"], ["PMIX_RANK": "0"]])
  func separateWorldsUnderSrunAreRefused(launcher: [String: String]) throws {
    let step = ["SLURM_NTASKS": "8", "SLURM_PROCID": "3", "SLURM_STEP_ID": "0"]
    let environment = LaunchEnvironment(step.merging(launcher) { $1 })
    #expect(throws: WorldError.separateWorlds(tasks: 8)) { try environment.check(size: 1) }
    try environment.check(size: 8)
    #expect("\(WorldError.separateWorlds(tasks: 8))".contains("--mpi=pmix"))
  }

  @Test func aStepOfOneTaskInALargerJobIsFine() throws {
    let environment = LaunchEnvironment([
      "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0", "SLURM_STEP_ID": "2",
    ])
    try environment.check(size: 1)
  }

  @Test func mpirunWithOneRankInsideAStepIsFine() throws {
    let environment = LaunchEnvironment([
      "SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_STEP_ID": "0", "OMPI_COMM_WORLD_SIZE": "1",
    ])
    try environment.check(size: 1)
  }
}
