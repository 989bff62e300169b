import Coordinator
import Foundation
import Testing

/// Jobs disturbed at random moments: each run must come to the very end of an undisturbed one, or be refused clearly, and
/// no good checkpoint may be lost. See `FaultScene` for longer sweeps.
@Suite(.serialized) struct FaultTests {
  /// What is saved, lost and put together again is of several owners.
  @Test func everyRankOwnsAPart() throws {
    let counts = try FaultScene.get().elementsOfRanks()
    #expect(counts.count == FaultScene.mostRanks && counts.allSatisfy { $0 > 0 }, "\(counts)")
  }

  /// Processes that die without a word.
  @Suite struct Kills {
    @Test(arguments: 0..<3 * FaultScene.rounds) func oneRank(round: Int) throws {
      try killed("kill-rank-\(round)") { job, random in
        job.signal(SIGKILL, rank: Int.random(in: 0..<job.ranks, using: &random))
      }
    }

    @Test(arguments: 0..<3 * FaultScene.rounds) func theLauncher(round: Int) throws {
      try killed("kill-launcher-\(round)") { job, _ in job.signalLauncher(SIGKILL) }
    }

    /// mpirun passes SIGTERM on, and kills the ranks a second later: saved or not, nothing is lost.
    @Test(arguments: 0..<FaultScene.rounds) func termOfTheLauncher(round: Int) throws {
      try killed("term-launcher-\(round)") { job, _ in job.signalLauncher(SIGTERM) }
    }

    /// Twice in the life of the run something kills its job, at any moment from the start on. `state.json` of a killed job
    /// stays at `running`; whoever looks is told, and the next job notes it.
    private func killed(
      _ name: String, _ strike: (FaultJob, inout TestRandom) -> Void
    ) throws {
      let scene = try FaultScene.get()
      var random = FaultScene.random(name)
      var lost: Set<Int> = []
      for _ in 0..<2 {
        let ranks = Int.random(in: 2...4, using: &random)
        let job = try scene.start(name, ranks: ranks)
        let moment = Double.random(in: 0..<scene.duration, using: &random)
        let deadline = Date() + moment
        job.wait(seconds: moment) { false }
        if Date() >= deadline { strike(job, &random) }
        _ = job.end()
        try scene.expectKept(name, after: job)
        // Struck before the run began it has no folder.
        if FileManager.default.fileExists(atPath: scene.path(name)), let state = try scene.state(name),
          state.status == .running
        {
          lost.insert(state.attempt)
          let list = try Program.bipft(["checkpoint", "list", scene.path(name)])
          #expect(list.code == 0 && list.output.contains("run: its last job ended without a word"), "\(list)")
        }
      }
      try scene.expectSameEnd(name, ranks: Int.random(in: 1...4, using: &random))
      let told = try RunHistory(run: scene.path(name)).events().filter { $0.event == .lost }
      #expect(told.map(\.attempt) == lost.sorted())
      try scene.remove(name)
    }
  }

  /// While gradients are exchanged.
  @Suite struct Exchanges {
    private func start(_ name: String, fault: String, _ settings: [String] = []) throws -> FaultJob {
      try FaultScene.get().start(
        name, ranks: 3, settings,
        environment: ["BIPFT_TEST_FAULTS": "\(fault):1:50"])
    }

    @Test func aRankThatDiesEndsTheJob() throws {
      let scene = try FaultScene.get()
      let job = try start("exchange-killed", fault: "kill-exchange")
      #expect(job.end() != 0)
      try scene.expectKept("exchange-killed", after: job)
      try scene.expectSameEnd("exchange-killed", ranks: 2)
    }

    @Test func aRankThatStandsStillIsNamed() throws {
      let job = try start(
        "exchange-hung", fault: "hang-exchange",
        ["hang_timeout=5", "model.hidden_size=240", "model.intermediate_size=1200"])
      let code = job.end()
      #expect(code == 70, "\(job.output)")
      let line = try #require(job.lines.last)
      for (rank, bucket) in [(0, 2), (1, 1), (2, 2)] {
        #expect(line.contains("rank \(rank) ("), "\(line)")
        #expect(line.contains("is at step 50 in exchange, gradients, bucket \(bucket) of 2"), "\(line)")
      }
    }

    @Test func aStopSignalIsHeard() throws {
      let scene = try FaultScene.get()
      let job = try scene.start("exchange-stopped", ranks: 3, ["lanes=dynamic"])
      job.wait { job.lastCheckpoint != nil }
      job.signal(SIGUSR1, rank: 1)
      let code = job.end()
      #expect(code == 75 || code == 0, "\(job.output)")
      try scene.expectSameEnd("exchange-stopped", ranks: 2)
    }
  }

  /// Requests to stop.
  @Suite struct Stops {
    /// To one rank: saved, exit code 75, and the run goes on from there. In even rounds at any moment once it listens, in
    /// odd ones while it writes its first checkpoint, which is drawn out so that the signal falls into it.
    @Test(arguments: 0..<2 * FaultScene.rounds, [SIGUSR1, SIGUSR2, SIGTERM])
    func signalToOneRank(round: Int, signal: Int32) throws {
      let name = "signal-\(signal)-\(round)"
      let scene = try FaultScene.get()
      var random = FaultScene.random(name)
      let saves = round % 2 == 1
      let job = try scene.start(
        name, ranks: Int.random(in: 2...4, using: &random),
        environment: saves ? ["BIPFT_TEST_FAULTS": "delay:write:0.3,delay:hash:0.3,delay:manifest:1"] : [:])
      if saves {
        let partial = scene.path("\(name)/checkpoints/.\(checkpointName(step: 20)).partial")
        #expect(job.wait { FileManager.default.fileExists(atPath: partial) })
        sleep(Double.random(in: 0..<0.6, using: &random))
        #expect(FileManager.default.fileExists(atPath: partial), "the signal comes after the checkpoint")
      } else {
        job.wait { job.output.contains("starting") }
        sleep(Double.random(in: 0..<scene.duration / 2, using: &random))
      }
      job.signal(signal, rank: Int.random(in: 0..<job.ranks, using: &random))
      let code = job.end()
      if saves { #expect(code == 75, "\(job.output)") }
      if code != 0 { try expectPreempted(scene, name, job, code) }
      try scene.expectSameEnd(name, ranks: Int.random(in: 1...4, using: &random))
      try scene.remove(name)
    }

    /// mpirun passes SIGUSR1 on to all ranks.
    @Test func signalToTheLauncherDuringACheckpoint() throws {
      let scene = try FaultScene.get()
      let job = try scene.start(
        "usr1", ranks: 3, environment: ["BIPFT_TEST_FAULTS": "delay:write:0.1,delay:manifest:0.2"])
      let partial = scene.path("usr1/checkpoints/.step-00000020.partial")
      job.wait { FileManager.default.fileExists(atPath: partial) }
      job.signalLauncher(SIGUSR1)
      try expectPreempted(scene, "usr1", job, job.end())
      try scene.expectSameEnd("usr1", ranks: 2)
    }

    @Test func theClockDoesTheSame() throws {
      let scene = try FaultScene.get()
      let start = Date()
      let job = try scene.start("clock", ranks: 2, ["stop_after=4", "training.steps=1000000"])
      let code = job.end()
      #expect(Date().timeIntervalSince(start) < 12)
      #expect(code == 75, "\(job.output)")
      let state = try #require(try scene.state("clock"))
      #expect(state.status == .preempted && state.reason == "stop_after" && state.step > 0)
      #expect(try CheckpointStore(run: scene.path("clock")).list().last?.step == state.step)
    }

    private func expectPreempted(
      _ scene: FaultScene, _ name: String, _ job: FaultJob, _ code: Int32,
      location: SourceLocation = #_sourceLocation
    ) throws {
      #expect(code == 75, "\(job.output)", sourceLocation: location)
      let state = try #require(try scene.state(name))
      #expect(state.status == .preempted && state.startsWithoutCheckpoint == 0, sourceLocation: location)
      #expect(job.lastCheckpoint == state.step, "\(job.output)", sourceLocation: location)
      try scene.expectKept(name, after: job, location: location)
    }
  }

  /// A rank that stands still.
  @Suite struct Hangs {
    @Test(arguments: 0..<FaultScene.rounds) func aStoppedRankIsNamed(round: Int) throws {
      let name = "hang-\(round)"
      let scene = try FaultScene.get()
      var random = FaultScene.random(name)
      let job = try scene.start(name, ranks: 4, ["hang_timeout=5", "training.steps=1000000"])
      job.wait { job.lastCheckpoint != nil }
      // Rank 0 too: then another one has to speak.
      let rank = round == 0 ? 0 : Int.random(in: 0..<4, using: &random)
      #expect(job.signal(SIGSTOP, rank: rank))
      let code = job.end()
      #expect(code == 70, "\(job.output)")
      let line = try #require(job.lines.last)
      #expect(
        line.contains("rank \(rank) (") && line.contains("does not run") && line.contains("; "), "\(line)")
      #expect(line.contains("hang_timeout"))
      #expect(job.lines.count { $0.contains("hang_timeout") } == 1, "\(job.output)")
      let state = try #require(try scene.state(name))
      #expect(state.status == .hung && state.reason.contains("rank \(rank) ("))
      try scene.expectKept(name, after: job)
      try scene.remove(name)
    }
  }
}
