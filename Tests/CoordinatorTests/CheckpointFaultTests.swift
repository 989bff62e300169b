import Coordinator
import Foundation
import Kernels
import Testing

/// Each file of a checkpoint damaged in each way: always noticed, and the file named.
struct CheckpointFaultTests {
  static let files = ["manifest.json", "model.safetensors", "optimizer.safetensors", "state.json"]
  let fixture: CheckpointFixture
  init() throws { fixture = try CheckpointFixture() }

  private func expectDamage(_ path: String, file: String, _ comment: Comment) {
    #expect(comment) {
      try CheckpointStore.verify(path)
    } throws: { error in
      guard case CheckpointError.damagedCheckpoint(path, file, _) = error else { return false }
      return !"\(error)".contains("\n")
    }
  }

  @Test(arguments: files) func removed(file: String) throws {
    let path = try fixture.write(step: 1)
    try FileManager.default.removeItem(atPath: path + "/" + file)
    expectDamage(path, file: file, "removed")
  }

  @Test(arguments: files) func truncated(file: String) throws {
    let path = try fixture.write(step: 1)
    let whole = try Data(contentsOf: URL(fileURLWithPath: path + "/" + file))
    for size in [0, 1, whole.count / 2, whole.count - 1] {
      try (path + "/" + file).changeFile { $0 = whole.prefix(size) }
      expectDamage(path, file: file, "truncated to \(size)")
    }
    try (path + "/" + file).changeFile { $0 = whole }
    try CheckpointStore.verify(path)
  }

  @Test(arguments: files) func oneBitFlipped(file: String) throws {
    let path = try fixture.write(step: 1)
    let whole = try Data(contentsOf: URL(fileURLWithPath: path + "/" + file))
    var random = CaseGenerator(state: 77)
    for _ in 0..<100 {
      let (place, bit) = (
        Int.random(in: 0..<whole.count, using: &random), UInt8.random(in: 0..<8, using: &random)
      )
      try (path + "/" + file).changeFile {
        $0 = whole
        $0[place] ^= 1 << bit
      }
      expectDamage(path, file: file, "bit \(bit) of byte \(place)")
    }
  }

  @Test func longer() throws {
    let path = try fixture.write(step: 1)
    try (path + "/model.safetensors").changeFile { $0.append(0) }
    expectDamage(path, file: "model.safetensors", "one byte more")
  }

  @Test func namesTheByteRange() throws {
    let path = try fixture.write(step: 1)
    try (path + "/state.json").changeFile { $0[5] ^= 4 }
    let size = try Data(contentsOf: URL(fileURLWithPath: path + "/state.json")).count
    #expect(
      throws: CheckpointError.damagedCheckpoint(
        path: path, file: "state.json", problem: "bytes 0 to \(size) have changed")
    ) { try CheckpointStore.verify(path) }
  }

  /// A full disk shows before anything is written over, and leaves the older checkpoint alone.
  @Test(.enabled("needs the right to mount a tmpfs") { SmallDisk.isPossible }) func fullDisk() throws {
    let disk = try SmallDisk(path: fixture.checkpoints, kilobytes: 128)
    defer { disk.unmount() }
    try fixture.write(step: 10)
    let before = try fixture.folder.contents()
    let draft = CheckpointDraft(
      checkpoints: fixture.checkpoints, tensors: CheckpointFixture.tensors(fixture.layout),
      state: CheckpointFixture.state(step: 20))
    var failures = 0
    // Ever less space: the failure comes in each of the phases.
    for ballast in 0..<20 {
      try disk.fill("ballast\(ballast)", kilobytes: 4)
      do {
        try draft.create()
        try draft.writeState()
        let state = VectorState(fixture.layout, step: 20)
        defer { withExtendedLifetime(state) {} }
        _ = try draft.write(
          CheckpointSnapshot(
            state.parts([0..<fixture.layout.elementCount]), tensors: CheckpointFixture.tensors(fixture.layout)
          ))
      } catch {
        failures += 1
        #expect("\(error)".contains("No space left on device"))
      }
      try draft.discard()
      #expect(try fixture.folder.contents().filter { !$0.hasPrefix("ballast") } == before)
      if failures == 3 { break }
    }
    #expect(failures == 3)
    #expect(try fixture.store.newestValid { Issue.record("\($0)") }?.step == 10)
  }
}

/// A small file system in memory.
struct SmallDisk {
  let path: String

  init(path: String, kilobytes: Int) throws {
    self.path = path
    try #require(Self.run("mount", "-t", "tmpfs", "-o", "size=\(kilobytes)k", "tmpfs", path))
  }

  func fill(_ name: String, kilobytes: Int) throws {
    // As much as fits: a full disk is the point.
    try? Data(repeating: 1, count: kilobytes << 10).write(to: URL(fileURLWithPath: path + "/" + name))
  }

  func unmount() { _ = Self.run("umount", path) }

  static let isPossible: Bool = {
    guard getuid() == 0, let folder = try? TemporaryFolder() else { return false }
    return run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder.path) && run("umount", folder.path)
  }()

  private static func run(_ arguments: String...) -> Bool {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = arguments
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return false }
    process.waitUntilExit()
    return process.terminationStatus == 0
  }
}
