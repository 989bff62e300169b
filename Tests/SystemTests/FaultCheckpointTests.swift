import Coordinator
import Foundation
import Testing

extension FaultTests {
  /// Checkpoints that are interrupted, damaged, or find no room.
  @Suite struct Checkpoints {
    /// The phases of writing, each drawn out so that the kill falls into it.
    @Test(arguments: ["create", "write", "hash", "manifest", "rename", "latest"], 0..<FaultScene.rounds)
    func killedWhileWriting(phase: String, round: Int) throws {
      let name = "phase-\(phase)-\(round)"
      let scene = try FaultScene.get()
      var random = FaultScene.random(name)
      let job = try scene.start(
        name, ranks: 3, environment: ["BIPFT_TEST_FAULTS": "delay:\(phase):0.3"])
      // The first checkpoint is there and the second under way, somewhere before, in or after the phase.
      job.wait { job.lastCheckpoint != nil }
      sleep(Double.random(in: 0..<0.5, using: &random))
      if Bool.random(using: &random) {
        job.signalLauncher(SIGKILL)
      } else {
        job.signal(SIGKILL, rank: Int.random(in: 0..<3, using: &random))
      }
      _ = job.end()
      try scene.expectKept(name, after: job)
      try scene.expectSameEnd(name, ranks: Int.random(in: 1...4, using: &random))
      try scene.remove(name)
    }

    private static let files = ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"]

    /// Every file of the newest checkpoint: the run goes on from the one before, to the same end.
    @Test func damageOfTheNewest() throws {
      let scene = try FaultScene.get()
      try stopHalfway(scene, "whole")
      var random = FaultScene.random("damage")
      for file in Self.files {
        for damage in Damage.allCases {
          let name = "damage-\(file)-\(damage)"
          try scene.copy("whole", to: name)
          let newest = try #require(try CheckpointStore(run: scene.path(name)).list().last)
          try damage.apply(to: newest.path + "/" + file, &random)
          try scene.expectSameEndIgnoringDamage(name, damaged: newest, file: file)
          try scene.remove(name)
        }
      }
    }

    /// All checkpoints damaged: a refusal that touches nothing.
    @Test func damageOfAll() throws {
      let scene = try FaultScene.get()
      try stopHalfway(scene, "lost")
      var random = FaultScene.random("lost")
      for item in try CheckpointStore(run: scene.path("lost")).list() {
        let file = Self.files.randomElement(using: &random)!
        try Damage.allCases.randomElement(using: &random)!.apply(to: item.path + "/" + file, &random)
      }
      let before = try scene.tiny.scratch.bytes("lost/metrics.jsonl")
      for _ in 0..<4 {
        let job = try scene.start("lost", ranks: 2)
        // However often: three such starts are no reason for another message.
        #expect(job.end() == 78)
        #expect(job.lines.contains { $0.contains("none is valid") }, "\(job.output)")
      }
      #expect(try scene.tiny.scratch.bytes("lost/metrics.jsonl") == before)
    }

    /// A disk that fills up under the run: it goes on, the older checkpoint stays; with room again it ends as ever.
    @Test(.enabled("SKIPPED: a tmpfs cannot be mounted here") { Program.canMount }) func aFullDisk() throws {
      let scene = try FaultScene.get()
      let folder = scene.path("disk")
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      let mounted = try Program.run("/bin/mount", ["-t", "tmpfs", "-o", "size=32m", "tmpfs", folder])
      try #require(mounted.code == 0, "\(mounted.errors)")
      defer { _ = try? Program.run("/bin/umount", [folder]) }
      let job = try scene.start("disk/run", ranks: 2, ["training.steps=1000000"])
      job.wait { job.lastCheckpoint != nil }
      // What is left, to the last byte, and what the removal of old checkpoints gives back.
      let ballast = folder + "/ballast"
      let descriptor = open(ballast, O_WRONLY | O_CREAT, 0o644)
      let block = [UInt8](repeating: 1, count: 4096)
      #expect(
        job.wait {
          while write(descriptor, block, block.count) > 0 {}
          return job.output.contains("not written, older ones stay")
        })
      #expect(job.output.contains("No space left on device"))
      close(descriptor)
      #expect(job.isRunning)
      // It trains on, and room makes things good again.
      try FileManager.default.removeItem(atPath: ballast)
      let seen = job.output.utf8.count
      #expect(job.wait { job.output.utf8.dropFirst(seen).count > 0 && written(job, after: seen) })
      job.signalLauncher(SIGUSR1)
      #expect(job.end() == 75, "\(job.output)")
      try scene.expectKept("disk/run", after: job)
      let audit = try Program.bipft(["schedule", "--audit", scene.path("disk/run")])
      #expect(audit.code == 0, "\(audit.output)")
    }

    private func written(_ job: FaultJob, after bytes: Int) -> Bool {
      String(decoding: job.output.utf8.dropFirst(bytes), as: UTF8.self).contains(" written in ")
    }

    @Test func theNewestAndEveryNthStay() throws {
      let scene = try FaultScene.get()
      let job = try scene.start("keep", ranks: 2, ["checkpoint.keep_every=80"])
      #expect(job.end() == 0)
      let store = try CheckpointStore(run: scene.path("keep"))
      #expect(try store.list().map(\.step) == [80, 160, 220, 240])
      let prune = try Program.bipft(["checkpoint", "prune", scene.path("keep"), "--keep-every", "160"])
      #expect(
        prune.code == 0 && prune.output.contains("removed: \(scene.path("keep"))/checkpoints/step-00000080"))
      #expect(try store.list().map(\.step) == [160, 220, 240])
    }

    /// Stopped in order at about half of the run.
    private func stopHalfway(_ scene: FaultScene, _ name: String) throws {
      let job = try scene.start(name, ranks: 2)
      job.wait { (job.lastCheckpoint ?? 0) >= 60 }
      job.signal(SIGUSR1, rank: 1)
      try #require(job.end() == 75, "\(job.output)")
      #expect(try CheckpointStore(run: scene.path(name)).list().count == 2)
    }
  }

  enum Damage: CaseIterable {
    case cut, flip, remove

    func apply(to path: String, _ random: inout TestRandom) throws {
      var data = try Data(contentsOf: URL(fileURLWithPath: path))
      let place = Int.random(in: 0..<data.count, using: &random)
      switch self {
      case .cut: data = data.prefix(place)
      case .flip: data[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case .remove:
        try FileManager.default.removeItem(atPath: path)
        return
      }
      try data.write(to: URL(fileURLWithPath: path))
    }
  }
}

extension FaultScene {
  /// As `expectSameEnd`, for a run with a damaged checkpoint that stays where it is, or gives way to the redone one.
  func expectSameEndIgnoringDamage(
    _ name: String, damaged: CheckpointStore.Item, file: String
  ) throws {
    let job = try start(name, ranks: 3)
    job.wait { job.output.contains("going on from") }
    #expect(
      job.lines.contains {
        $0.contains("skipped: checkpoint \(damaged.path) is damaged: ") && $0.contains(file)
      },
      "\(job.output)")
    #expect(job.end() == 0, "\(job.output)")
    try expectSameResults(name)
    // Never deleted: still under its name, or set aside for the redone checkpoint of the same step.
    let names = try FileManager.default.contentsOfDirectory(atPath: path(name) + "/checkpoints")
    let own = checkpointName(step: damaged.step)
    #expect(names.contains(own) || names.contains(own + ".replaced-1"), "\(names)")
  }
}
