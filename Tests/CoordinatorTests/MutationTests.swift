import BinaryModel
import Coordinator
import Foundation
import Kernels
import Mutations
import Testing

/// Damaged files of a checkpoint and of a run folder: taken, or refused in one line that names a place; no crash.
@Suite struct MutationTests {
  private let fixture: CheckpointFixture
  init() throws { fixture = try CheckpointFixture() }

  private func expectClear(
    _ error: any Error, _ number: Int, location: SourceLocation = #_sourceLocation
  ) {
    let text = "\(error)"
    #expect(
      text.contains(fixture.folder.path) && !text.contains("\n"), "mutant \(number): \(text)",
      sourceLocation: location)
  }

  @Test(arguments: CheckpointFaultTests.files) func checkpoints(file: String) throws {
    let path = try fixture.write(step: 1)
    let good = Array(try Data(contentsOf: URL(fileURLWithPath: path + "/" + file)))
    let values = FloatBuffer(count: fixture.layout.elementCount)
    var (opened, refused) = (0, 0)
    try Mutations.of(good, count: 500, name: "checkpoint/" + file) { bytes, number in
      try (path + "/" + file).changeFile { $0 = Data(bytes) }
      do throws(CheckpointError) {
        try CheckpointStore.verify(path)
        #expect(bytes == good, "mutant \(number) is verified")
      } catch {
        refused += 1
        expectClear(error, number)
      }
      // As it is read by those who have not verified it.
      do throws(CheckpointError) {
        let checkpoint = try Checkpoint(path: path)
        try checkpoint.check(CheckpointFixture.tensors(fixture.layout), sizes: CheckpointFixture.sizes())
        for vector in CheckpointFixture.vectors {
          checkpoint.load(vector, layout: fixture.layout, into: FlatPart(start: 0, values: values.view))
        }
        try checkpoint.state.check(against: CheckpointFixture.identity(), allowing: [], checkpoint: path)
        opened += 1
      } catch {
        expectClear(error, number)
      }
      _ = try? fixture.store.summaries()
      _ = try? fixture.store.newestValid { _ in }
    }
    #expect(opened > 0 && refused > 0)
  }

  @Test func statesOfRuns() throws {
    let run = fixture.folder.path + "/run"
    do {
      let directory = try RunDirectory(path: run)
      try directory.begin()
      try directory.record(.preempted, step: 7, reason: "SIGUSR1")
    }
    let good = Array(try Data(contentsOf: URL(fileURLWithPath: run + "/state.json")))
    var (opened, refused) = (0, 0)
    try Mutations.of(good, count: 1_000, name: "state.json") { bytes, number in
      try (run + "/state.json").changeFile { $0 = Data(bytes) }
      do throws(RunFolderError) {
        _ = try RunDirectory.summary(run)
        _ = try RunDirectory(path: run)
        opened += 1
      } catch {
        refused += 1
        expectClear(error, number)
      }
    }
    #expect(opened > 0 && refused > 0)
  }

  @Test func histories() throws {
    let history = RunHistory(run: fixture.folder.path)
    try history.append(.init(.start, step: 0, reached: 0, ranks: 2))
    try history.append(.init(.skipped, step: 3, reason: "the loss is not finite"))
    try history.append(.init(.lost, step: 9, attempt: 1, reason: "é"))
    let good = Array(try Data(contentsOf: URL(fileURLWithPath: history.path)))
    var (opened, refused) = (0, 0)
    try Mutations.of(good, count: 1_000, name: "history.jsonl") { bytes, number in
      try history.path.changeFile { $0 = Data(bytes) }
      do throws(RunFolderError) {
        let events = try history.events()
        opened += 1
        // Another event goes after the last whole one.
        try history.append(.init(.end, step: 10))
        #expect(try history.events().dropLast() == events[...], "mutant \(number)")
      } catch {
        refused += 1
        expectClear(error, number)
      }
    }
    #expect(opened > 0 && refused > 0)
  }
}
