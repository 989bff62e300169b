import Coordinator
import Foundation
import Testing

extension FaultTests {
  /// Runs that go on from a checkpoint that somebody chose.
  @Suite struct Choices {
    /// From an older one, killed before the next is written: what goes on by itself is the chosen course, not what the run
    /// had come to before.
    @Test func anOlderCheckpoint() throws {
      let scene = try FaultScene.get()
      let store = CheckpointStore(path: scene.path("older/checkpoints"))
      let first = try scene.start("older", ranks: 2, ["checkpoint.keep=12"])
      #expect(first.end() == 0, "\(first.output)")
      #expect(try store.list().map(\.step) == Array(stride(from: 20, through: 240, by: 20)))
      let chosen = scene.path("older/checkpoints/" + checkpointName(step: 100))
      let second = try scene.start(
        "older", ranks: 3, ["checkpoint.keep=12"], more: ["--resume", chosen],
        environment: ["BIPFT_TEST_FAULTS": "kill:0:106"])
      #expect(second.end() != 0)
      #expect(second.lines.contains { $0.contains("set aside (.replaced): 120, 140, ") }, "\(second.output)")
      #expect(try store.list().map(\.step) == [20, 40, 60, 80, 100])
      let replaced = try FileManager.default.contentsOfDirectory(atPath: store.path)
        .filter { $0.contains(".replaced-") }
      #expect(replaced.count == 7, "\(replaced)")
      for name in replaced { try CheckpointStore.verify(store.path + "/" + name) }
      let steps = try scene.tiny.metrics("older").filter { $0.contains("\"kind\": \"train\"") }.count
      #expect(steps == 105)
      let list = try Program.bipft(["checkpoint", "list", scene.path("older")])
      #expect(list.output.contains("run: its last job ended without a word"), "\(list)")
      let audit = try Program.bipft(["schedule", "--audit", scene.path("older")])
      #expect(audit.code == 0 && audit.output.contains("140 done again"), "\(audit.output)")

      try scene.expectSameEnd("older", ranks: 4)
      let end = try Program.bipft(["schedule", "--audit", scene.path("older")])
      #expect(end.output.contains("1 job ended without a word"), "\(end.output)")
    }

    /// From one of another run: the audit says what it does not know.
    @Test func aCheckpointOfAnotherRun() throws {
      let scene = try FaultScene.get()
      let source = try scene.start("source", ranks: 2)
      source.wait { (source.lastCheckpoint ?? 0) >= 40 }
      source.signal(SIGUSR1, rank: 0)
      try #require(source.end() == 75, "\(source.output)")
      let chosen = try #require(try CheckpointStore(run: scene.path("source")).list().last)
      let job = try scene.start("branch", ranks: 3, more: ["--resume", chosen.path])
      #expect(job.end() == 0, "\(job.output)")
      let name = "/checkpoints/" + checkpointName(step: FaultScene.steps) + "/model.safetensors"
      try scene.expectSameEnd("source", ranks: 1)
      #expect(try scene.tiny.scratch.bytes("branch" + name) == scene.tiny.scratch.bytes("source" + name))
      let audit = try Program.bipft(["schedule", "--audit", scene.path("branch")])
      #expect(
        audit.code == 0 && audit.output.contains("goes on from step \(chosen.step) of \(chosen.path)"),
        "\(audit.output)")
    }
  }
}
