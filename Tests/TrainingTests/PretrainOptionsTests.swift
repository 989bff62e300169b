import Planning
import RunSettings
import Testing
import Training

@Suite struct PretrainOptionsTests {
  @Test func theRunDirectoryIsNamedAfterTheConfiguration() {
    #expect(PretrainOptions(configurationFile: "configs/demo.yaml").runDirectory == "runs/demo")
    #expect(PretrainOptions(configurationFile: "/a/my.run.yml").runDirectory == "runs/my.run")
    #expect(PretrainOptions(configurationFile: "demo.yaml", runDirectory: "x").runDirectory == "x")
  }

  @Test func resume() {
    #expect(PretrainOptions.Resume(argument: "auto") == .automatic)
    #expect(PretrainOptions.Resume(argument: "none") == .never)
    #expect(PretrainOptions.Resume(argument: "runs/a/step-00000100") == .checkpoint("runs/a/step-00000100"))
  }

  @Test func theLaunchersRankIsFound() {
    #expect(LaunchedRank(environment: [:]).speaks)
    #expect(LaunchedRank(environment: ["OMPI_COMM_WORLD_RANK": "3", "SLURM_PROCID": "0"]).rank == 3)
    #expect(LaunchedRank(environment: ["PMIX_RANK": "2"]).rank == 2)
    #expect(!LaunchedRank(environment: ["SLURM_PROCID": "1"]).speaks)
  }

  @Test func exitCodesAreFixed() {
    #expect(ExitCode.allCases.map(\.rawValue) == [0, 70, 75, 78])
  }

  /// Of what the modules below throw, in whatever it is wrapped.
  @Test func whatAConfigurationIsToBlameForIsNotStartedAgain() {
    let world = PlanningError.worldSize(ranks: 9, globalBatch: 32, microBatch: 4)
    #expect(TrainingError.exitCode(of: world) == .doNotRestart)
    #expect(TrainingError.module(world).exitCode == .doNotRestart)
    do throws(ConfigurationError) {
      _ = try RunConfiguration.parse("seed: x", file: "a.yaml")
      Issue.record("a configuration without most of its keys was read")
    } catch {
      #expect(TrainingError.exitCode(of: error) == .doNotRestart)
    }
  }
}
