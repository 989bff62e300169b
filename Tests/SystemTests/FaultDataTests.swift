import Coordinator
import Foundation
import Testing

extension FaultTests {
  /// Data, numbers and ranks that go wrong.
  @Suite struct Wrongs {
    /// A shard that is cut off while the run reads it: one line that names it, whatever rank meets it, no result of
    /// what is not there; with the shard whole again, the same end.
    @Test(arguments: 0..<2 * FaultScene.rounds) func aShardIsCutOff(round: Int) throws {
      let name = "shard-\(round)"
      let tiny = try FaultScene.get().tiny
      let scene = try FaultScene.get()
      var random = FaultScene.random(name)
      // Its own copy of the corpus.
      try FileManager.default.copyItem(
        atPath: tiny.scratch.path("corpus"), toPath: tiny.scratch.path("corpus-" + name))
      let shard = tiny.scratch.path("corpus-" + name + "/train-00000.bin")
      let whole = try Data(contentsOf: URL(fileURLWithPath: shard))
      let corpus = "data.corpus=" + tiny.scratch.path("corpus-" + name)
      let job = try scene.start(name, ranks: 3, [corpus])
      job.wait { job.lastCheckpoint != nil }
      truncate(shard, round == 0 ? 0 : off_t(Int.random(in: 0..<whole.count, using: &random)))
      let code = job.end()
      #expect(code == 70 || code == 78, "\(job.output)")
      #expect(job.lines.contains { $0.contains("train-00000.bin") }, "\(job.output)")
      try scene.expectKept(name, after: job)
      let refused = try scene.start(name, ranks: 2, [corpus])
      #expect(refused.end() == 78)
      #expect(refused.lines.count == 1 && refused.lines[0].contains("train-00000.bin"), "\(refused.output)")
      try whole.write(to: URL(fileURLWithPath: shard))
      try scene.expectSameEnd(name, ranks: 2)
    }

    /// A byte of a shard that has changed, sizes and index as they were: found while the run goes on, one line that names it.
    @Test func aShardIsDamagedInPlace() throws {
      let scene = try FaultScene.get()
      let folder = scene.tiny.scratch.path("corpus-damaged")
      try FileManager.default.copyItem(atPath: scene.tiny.scratch.path("corpus"), toPath: folder)
      let path = folder + "/train-00000.bin"
      var shard = try Data(contentsOf: URL(fileURLWithPath: path))
      shard[0] ^= 1
      try shard.write(to: URL(fileURLWithPath: path))
      let job = try scene.start("damaged", ranks: 3, ["data.corpus=" + folder])
      #expect(job.end() == 78, "\(job.output)")
      let line = try #require(job.lines.last)
      #expect(line.contains("train-00000.bin: has SHA-256 "), "\(job.output)")
    }

    @Test func oneRankFails() throws {
      let scene = try FaultScene.get()
      let job = try scene.start("throw", ranks: 3, environment: ["BIPFT_TEST_FAULTS": "throw:2:50"])
      #expect(job.end() == 78)
      let lines = job.lines.filter { $0.contains("a fault that a test asked for") }
      #expect(lines == ["bipft-pretrain: step 50: a fault that a test asked for"], "\(job.output)")
      #expect(try scene.state("throw")?.status == .failed)
      try scene.expectKept("throw", after: job)
      try scene.expectSameEnd("throw", ranks: 2)
    }

    /// Losses that are not numbers: the step is left out, its samples are in the metrics, the run goes on, and a run stopped
    /// in between goes on the same.
    @Test func stepsAreSkippedByAll() throws {
      let scene = try FaultScene.get()
      let faults = ["BIPFT_TEST_FAULTS": "nan:0:30,nan:0:31,nan:0:101"]
      for (name, ranks) in [("nan-a", 1), ("nan-b", 3)] {
        let job = try scene.start(name, ranks: ranks, environment: faults)
        if name == "nan-b" {
          job.wait { job.lastCheckpoint != nil }
          job.signal(SIGUSR1, rank: 0)
          let code = job.end()
          #expect(code == 75 || code == 0, "\(job.output)")
          let rest = try scene.start(name, ranks: 2, environment: faults)
          #expect(rest.end() == 0, "\(rest.output)")
        } else {
          #expect(job.end() == 0, "\(job.output)")
        }
      }
      let metrics = try scene.tiny.metrics("nan-a")
      #expect(try scene.tiny.metrics("nan-b") == metrics)
      let skipped = metrics.filter { $0.contains("\"skipped\"") }
      #expect(skipped.count == 3 && skipped.allSatisfy { $0.contains("\"sample_ids\": \"") }, "\(skipped)")
      #expect(metrics.count { $0.contains("NaN") } == 3)
      let audit = try Program.bipft(["schedule", "--audit", scene.path("nan-b")])
      #expect(audit.code == 0 && audit.output.contains("3 times a step was skipped"), "\(audit.output)")
    }

    @Test func spikesAreSkippedLikewise() throws {
      let scene = try FaultScene.get()
      let whole = try scene.start("spike-a", ranks: 1, ["training.spike_z_score=1.5"])
      #expect(whole.end() == 0, "\(whole.output)")
      let job = try scene.start("spike-b", ranks: 3, ["training.spike_z_score=1.5"])
      job.wait { (job.lastCheckpoint ?? 0) >= 40 }
      job.signal(SIGKILL, rank: 1)
      _ = job.end()
      let rest = try scene.start("spike-b", ranks: 2, ["training.spike_z_score=1.5"])
      #expect(rest.end() == 0, "\(rest.output)")
      let metrics = try scene.tiny.metrics("spike-a")
      #expect(try scene.tiny.metrics("spike-b") == metrics)
      #expect(metrics.contains { $0.contains("the loss is a spike") })
      #expect(
        try scene.tiny.weights("spike-a", step: FaultScene.steps)
          == scene.tiny.weights("spike-b", step: FaultScene.steps))
    }

    /// Too many in a row end the job; three such starts end the run until a person says so.
    @Test func startsWithoutProgressEnd() throws {
      let scene = try FaultScene.get()
      let faults = ["BIPFT_TEST_FAULTS": (5..<9).map { "nan:1:\($0)" }.joined(separator: ",")]
      for start in 1...4 {
        let job = try scene.start(
          "futile", ranks: 2, ["training.maximum_skipped_steps=3"], environment: faults)
        #expect(job.end() == (start < 4 ? 70 : 78), "\(job.output)")
        let line = try #require(job.lines.last)
        #expect(
          line.contains(start < 4 ? "training.maximum_skipped_steps" : "3 starts brought no new checkpoint"),
          "\(line)")
        #expect(try scene.state("futile")?.startsWithoutCheckpoint == min(start, 3))
      }
      let job = try scene.start("futile", ranks: 2, more: ["--try-again"])
      #expect(job.end() == 0, "\(job.output)")
      #expect(try scene.state("futile")?.startsWithoutCheckpoint == 0)
      try scene.expectSameResults("futile")
    }

    /// A wrong bit in one rank's copy of the weights.
    @Test func aWrongReplicaIsNamed() throws {
      let scene = try FaultScene.get()
      let job = try scene.start("replica", ranks: 4, environment: ["BIPFT_TEST_FAULTS": "corrupt:2:50"])
      #expect(job.end() == 70, "\(job.output)")
      let line = try #require(job.lines.last)
      #expect(line.contains("step 50: rank 2 (") && line.contains("the other 3 ranks"), "\(line)")
      try scene.expectKept("replica", after: job)
      try scene.expectSameEnd("replica", ranks: 2)
    }

    @Test func theSecondJobOfARunIsRefused() throws {
      let scene = try FaultScene.get()
      let first = try scene.start("two", ranks: 2, ["training.steps=1000000"])
      first.wait { first.lastCheckpoint != nil }
      let second = try Program.pretrain(scene.tiny.arguments("two"), ranks: 2)
      #expect(
        second.code == 78 && second.errors.contains("is in use by another job (host "), "\(second.errors)")
      let prune = try Program.bipft(["checkpoint", "prune", scene.path("two")])
      #expect(prune.code == 78 && prune.errors.contains("is in use by another job"), "\(prune.errors)")
      #expect(first.isRunning)
      first.signalLauncher(SIGUSR1)
      #expect(first.end() == 75)
    }

    /// What a wrong history looks like to the audit.
    @Test func theAuditNamesGapsAndDuplicates() throws {
      let scene = try FaultScene.get()
      let job = try scene.start("audit", ranks: 2)
      #expect(job.end() == 0)
      let path = scene.path("audit/metrics.jsonl")
      let lines = try scene.tiny.scratch.text("audit/metrics.jsonl").split(separator: "\n")
      func audit(_ lines: [Substring]) throws -> Program.Outcome {
        try (lines.joined(separator: "\n") + "\n").write(toFile: path, atomically: true, encoding: .utf8)
        return try Program.bipft(["schedule", "--audit", scene.path("audit")])
      }
      func index(_ step: Int) -> Int {
        lines.firstIndex { $0.contains("\"kind\": \"train\", \"step\": \(step),") }!
      }
      #expect(try audit(lines).code == 0)
      var changed = lines
      changed.remove(at: index(100))
      let gap = try audit(changed)
      #expect(gap.code == 78 && gap.output.contains("gap: steps 100 to 100 are missing"), "\(gap.output)")
      changed = lines
      changed.insert(lines[index(100)], at: index(100))
      let twice = try audit(changed)
      #expect(
        twice.code == 78 && twice.output.contains("duplicate: step 100 stands twice"), "\(twice.output)")
      changed = lines
      changed[index(100)].replace("\"samples\": \"", with: "\"samples\": \"x")
      let other = try audit(changed)
      #expect(other.code == 78 && other.output.contains("from step 100 on the samples"), "\(other.output)")
    }
  }
}
