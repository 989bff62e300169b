import Coordinator
import DurableFiles
import Foundation
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

  /// What may pass by itself is tried again, what somebody has to mend is not.
  @Test func exitCodesOfRunsAndCheckpoints() {
    func file(_ code: Int32) -> FileError { .system(operation: "open", path: "x", code: code) }
    let worth: [any Error] = [
      CheckpointError.file(file(EIO)),
      CheckpointError.checkpointNotReadable(path: "x", problem: "", code: EIO),
      CheckpointError.notWritten(step: 1, reason: ""),
      RunFolderError.file(file(EIO)), RunFolderError.file(.endsEarly(path: "x", byte: 1, expected: 2)),
      PreflightError.file(file(ENOSPC)),
      PreflightError.noRoom(path: "x", checkpoints: 1, bytes: 1, reason: ""),
      ReplicaError.replicasDiffer(step: 1, ranks: ["rank 1"], others: 1),
    ]
    for error in worth { #expect(TrainingError.exitCode(of: error) == .failed, "\(error)") }
    let inVain: [any Error] = [
      CheckpointError.file(file(EACCES)),
      CheckpointError.checkpointNotReadable(path: "x", problem: "", code: EACCES),
      CheckpointError.damagedCheckpoint(path: "x", file: "y", problem: ""),
      CheckpointError.noValidCheckpoint(path: "x", damage: []),
      CheckpointError.newerFormat(path: "x", version: 2, known: 1),
      CheckpointError.changed(checkpoint: "x", field: "seed", stored: "1", current: "2"),
      RunFolderError.file(file(EROFS)), RunFolderError.foreignFolder(path: "x", found: "y"),
      RunFolderError.noRun(path: "x"), RunFolderError.runLocked(path: "x", holder: "y"),
      RunFolderError.noProgress(path: "x", starts: 3, step: 0, status: "failed", reason: ""),
      PreflightError.preflight(["x"]), PreflightError.notShared(path: "x", rank: 1, host: "y"),
      ScheduleError.tooFewSamples(samples: 1, globalBatch: 2),
    ]
    for error in inVain { #expect(TrainingError.exitCode(of: error) == .doNotRestart, "\(error)") }
  }
}
