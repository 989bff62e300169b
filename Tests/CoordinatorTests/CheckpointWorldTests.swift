import BinaryModel
import Collectives
import Coordinator
import Foundation
import Kernels
import Parameters
import Testing

/// Checkpoints written by the ranks of a real world. It runs under mpirun only and with no other test that needs MPI,
/// since a process enters a world once: `scripts/mpi-tests.sh`.
struct CheckpointWorldTests {
  @Test(
    .enabled("runs under mpirun (scripts/mpi-tests.sh)") {
      LaunchEnvironment(ProcessInfo.processInfo.environment).isLaunched
    })
  func writtenByAWorld() throws {
    let layout = CheckpointFixture.layout()
    try World.run { world in
      let own = try TemporaryFolder()
      // All ranks use the folder of rank 0; each removes its own at the end.
      let folder = String(decoding: try world.broadcast(Array(own.path.utf8), from: 0), as: UTF8.self)
      let disk = world.rank == 0 && SmallDisk.isPossible ? try SmallDisk(path: folder, kilobytes: 256) : nil
      defer { disk?.unmount() }
      try world.barrier()
      let writer = CheckpointWriter(checkpoints: folder, tensors: CheckpointFixture.tensors(layout))
      let part = SlicePart(layout: layout, rank: world.rank, size: world.size)
      let path = try part.write(writer, world, step: 10)
      // The checkpoint is one file set, whoever looks.
      try CheckpointStore.verify(path)
      #expect(try Checkpoint(path: path).state.worldSize == world.size)
      let all = FloatBuffer(count: layout.elementCount)
      let expected = FloatBuffer(count: layout.elementCount)
      for vector in CheckpointFixture.vectors {
        CheckpointFixture.fill(expected.view, vector, step: 10, layout: layout)
        try Checkpoint(path: path).load(vector, layout: layout, into: FlatPart(start: 0, values: all.view))
        #expect(all.view.array == expected.view.array)
      }
      try world.barrier()
      try failureIsCommon(world, folder, part)
      try lastRankFails(world, folder, part)
      try fullDisk(world, folder, part, disk)
    }
  }

  /// Where the hidden folder should be there is a folder that cannot go: rank 0 fails, all throw the same.
  private func failureIsCommon(_ world: borrowing World, _ folder: String, _ part: SlicePart) throws {
    let hidden = folder + "/.step-00000020.partial"
    if world.rank == 0 {
      try FileManager.default.createDirectory(atPath: hidden + "/occupied", withIntermediateDirectories: true)
    }
    try expectNotWritten(world, folder, part, step: 20)
    if world.rank == 0 { try FileManager.default.removeItem(atPath: hidden) }
    try world.barrier()
  }

  /// Any other rank may fail instead: its folder of the run is gone.
  private func lastRankFails(_ world: borrowing World, _ folder: String, _ part: SlicePart) throws {
    let isLast = world.size > 1 && world.rank == world.size - 1
    try expectNotWritten(world, isLast || world.size == 1 ? folder + "/elsewhere" : folder, part, step: 30)
    if world.rank == 0 {
      let names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
      #expect(names == ["latest", "step-00000010"])
    }
    try world.barrier()
    #expect(try CheckpointStore(path: folder).newestValid { Issue.record("\($0)") }?.step == 10)
  }

  /// A disk that fills up: all ranks throw the same, the older checkpoint stays.
  private func fullDisk(
    _ world: borrowing World, _ folder: String, _ part: SlicePart, _ disk: SmallDisk?
  ) throws {
    guard try world.maximum(disk == nil ? 0 : 1) == 1 else {
      // Part of the one test that a process can have of a world; scripts/mpi-tests.sh shows the line.
      if world.rank == 0 { print("SKIPPED: a disk that fills up: a tmpfs cannot be mounted here") }
      return
    }
    try disk?.fill("ballast", kilobytes: 256)
    try world.barrier()
    try expectNotWritten(world, folder, part, step: 40, because: "No space left on device")
    #expect(try CheckpointStore(path: folder).newestValid { Issue.record("\($0)") }?.step == 10)
    #expect(!FileManager.default.fileExists(atPath: folder + "/.step-00000040.partial"))
    try world.barrier()
  }

  private func expectNotWritten(
    _ world: borrowing World, _ folder: String, _ part: SlicePart, step: Int, because: String = ""
  ) throws {
    var reason = ""
    do throws(CheckpointError) {
      _ = try part.write(
        CheckpointWriter(checkpoints: folder, tensors: CheckpointFixture.tensors(part.layout)), world,
        step: step)
    } catch {
      guard case .notWritten(step, let text) = error else { throw error }
      reason = text
    }
    #expect(!reason.isEmpty && (because.isEmpty || reason.contains(because)))
    #expect(Set(try world.allGather(Array(reason.utf8))).count == 1)
  }
}

/// One rank's part of the three vectors: an even part of each half.
private struct SlicePart {
  let layout: ParameterLayout
  let ranges: [Range<Int>]

  init(layout: ParameterLayout, rank: Int, size: Int) {
    self.layout = layout
    let half = layout.elementCount / 2
    ranges = [0..<half, half..<layout.elementCount].map {
      $0.lowerBound + $0.count * rank / size..<$0.lowerBound + $0.count * (rank + 1) / size
    }
  }

  func write(_ writer: CheckpointWriter, _ world: borrowing World, step: Int) throws(CheckpointError)
    -> String
  {
    let state = VectorState(layout, step: step)
    defer { withExtendedLifetime(state) {} }
    return try writer.write(
      world, state: CheckpointFixture.state(step: step, worldSize: world.size),
      parts: state.parts(ranges))
  }
}
