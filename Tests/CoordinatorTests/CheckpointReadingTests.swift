import Coordinator
import Foundation
import Synchronization
import Testing

/// What is damage, what only cannot be read now, and which checkpoint somebody means.
struct CheckpointReadingTests {
  let fixture: CheckpointFixture
  init() throws {
    fixture = try CheckpointFixture()
    for step in [10, 20, 30, 40] { try fixture.write(step: step) }
  }

  private func path(_ step: Int) -> String { fixture.checkpoints + "/" + checkpointName(step: step) }

  /// A link to itself: the system does not say what the file holds, not even to root.
  private func hide(_ file: String) throws {
    try FileManager.default.moveItem(atPath: file, toPath: file + ".away")
    try FileManager.default.createSymbolicLink(atPath: file, withDestinationPath: file)
  }

  private func restore(_ file: String) throws {
    try FileManager.default.removeItem(atPath: file)
    try FileManager.default.moveItem(atPath: file + ".away", toPath: file)
  }

  @Test(arguments: ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"])
  func whatCannotBeReadIsNoDamage(file: String) throws {
    let hidden = path(40) + "/" + file
    try hide(hidden)
    func expectRefusal(_ body: () throws -> Void) {
      #expect {
        try body()
      } throws: { error in
        guard case CheckpointError.checkpointNotReadable(path(40), let problem, ELOOP) = error else {
          return false
        }
        return problem.contains(hidden) && !"\(error)".contains("\n")
      }
    }
    // No run goes back behind it, and nothing is removed.
    expectRefusal { _ = try fixture.store.newestValid { Issue.record("\($0)") } }
    expectRefusal { try fixture.store.prune(keepLast: 2) }
    expectRefusal { try Retention(fixture.store, keepLast: 2, keepEvery: 0).apply() }
    expectRefusal { try CheckpointStore.verify(path(40)) }
    #expect(try fixture.store.list().count == 4)
    for report in [try fixture.store.verifyAll(), try fixture.store.summaries()] {
      #expect(report.lines.count == 4 && report.damaged == 0 && !report.areWhole)
      expectRefusal { if let failure = report.failure { throw failure } }
    }
    try restore(hidden)
    #expect(try fixture.store.newestValid { Issue.record("\($0)") }?.step == 40)
    #expect(try fixture.store.verifyAll().areWhole)
  }

  /// That a file is not there is an answer: what the run then goes back over is set aside and never comes back.
  @Test func aMissingFileIsDamage() throws {
    let file = path(40) + "/optimizer.safetensors"
    try FileManager.default.moveItem(atPath: file, toPath: fixture.folder.path + "/away")
    var reports: [String] = []
    #expect(try fixture.store.newestValid { reports.append($0) }?.step == 30)
    #expect(reports.count == 1 && reports[0].contains("is damaged: optimizer.safetensors"), "\(reports)")
    #expect(try fixture.store.setAside(after: 30) == [40])
    try FileManager.default.moveItem(
      atPath: fixture.folder.path + "/away", toPath: path(40) + ".replaced-1/optimizer.safetensors")
    #expect(try fixture.store.newestValid { Issue.record("\($0)") }?.step == 30)
  }

  /// Whatever else a later format holds, its version is what is told.
  @Test(arguments: [#""version" : 4"#, nil]) func aLaterFormatIsNoDamage(version: String?) throws {
    let manifest = path(40) + "/manifest.json"
    try manifest.changeFile { data in
      let text = version.map {
        String(decoding: data, as: UTF8.self).replacingOccurrences(of: #""version" : 1"#, with: $0)
      }
      data = Data((text ?? #"{"version": 4, "tree": []}"#).utf8)
    }
    let error = CheckpointError.newerFormat(path: manifest, version: 4, known: 1)
    #expect(throws: error) { _ = try fixture.store.newestValid { Issue.record("\($0)") } }
    #expect(throws: error) { try fixture.store.prune(keepLast: 2) }
    #expect(try fixture.store.verifyAll().failure == error)
    #expect(try fixture.store.summaries().failure == error)
    #expect(try fixture.store.list().count == 4)
  }

  @Test func anotherStepThanItsNameIsDamage() throws {
    try FileManager.default.moveItem(atPath: path(30), toPath: path(50))
    var reports: [String] = []
    #expect(try fixture.store.newestValid { reports.append($0) }?.step == 40)
    #expect(reports.first?.contains("it is of step 30") == true, "\(reports)")
  }

  /// Retention reads through what it does not know, once, and gives signs of life on the way.
  @Test func retentionTouches() throws {
    let retention = Retention(fixture.store, keepLast: 5, keepEvery: 0)
    for step in [30, 40] { retention.noteWhole(step) }
    var touches = 0
    try retention.apply { touches += 1 }
    // Of 10 and 20: three files of a piece each.
    #expect(touches == 6)
    try retention.apply { touches += 1 }
    #expect(touches == 6)
  }

  /// The last start went back over them, and the run has not come to them again.
  @Test func coursesThatWereLeft() {
    let events = [
      RunHistory.Event(.start, step: 0, reached: 0), RunHistory.Event(.end, step: 25),
      RunHistory.Event(.start, step: 20, reached: 25), RunHistory.Event(.end, step: 22),
    ]
    let left = [19, 20, 21, 22, 23, 25, 26].filter {
      RunHistory.hasLeft(step: $0, events: events, reached: 22)
    }
    #expect(left == [23, 25])
    #expect(!RunHistory.hasLeft(step: 25, events: events, reached: 25))
    #expect(!RunHistory.hasLeft(step: 25, events: [], reached: 22))
    #expect(!RunHistory.hasLeft(step: 25, events: Array(events[..<2]), reached: 22))
  }

  @Test func namesOfCheckpoints() throws {
    let folder = try TemporaryFolder()
    let run = folder.path + "/run"
    try FileManager.default.createDirectory(atPath: run, withIntermediateDirectories: true)
    try FileManager.default.moveItem(atPath: fixture.checkpoints, toPath: run + "/checkpoints")
    func meaning(_ name: String) throws -> String {
      switch try CheckpointStore.resolve(name, run: run) {
      case .checkpoint(let path): path
      case .store(let store): "newest of " + store.path
      }
    }
    let store = run + "/checkpoints"
    for name in [run, run + "/", store, store + "/", store + "/latest"] {
      #expect(try meaning(name).hasPrefix("newest of \(store)"), "\(name)")
    }
    #expect(try meaning(store + "/step-00000020") == store + "/step-00000020")
    #expect(try meaning(store + "/step-00000020/") == store + "/step-00000020")
    // Without a path, one of the run's own.
    #expect(try meaning("step-00000020") == store + "/step-00000020")
    // One whose manifest is gone is one, and damaged.
    try FileManager.default.removeItem(atPath: store + "/step-00000010/manifest.json")
    #expect(try meaning(store + "/step-00000010") == store + "/step-00000010")
    for name in ["step-00000021", folder.path, folder.path + "/none", store + "/step-00000020/state.json"] {
      #expect {
        _ = try meaning(name)
      } throws: { error in
        guard case CheckpointError.noCheckpoint(name, _) = error else { return false }
        return "\(error)".contains("RUN/checkpoints/step-")
      }
    }
  }

  @Test func otherArithmeticIsTold() {
    let before = Arithmetic(kernels: "avx512")
    #expect(before.warning(goingOnWith: before) == nil)
    let kernels = before.warning(goingOnWith: Arithmetic(kernels: "avx2")) ?? ""
    #expect(kernels.contains("avx512") && kernels.contains("avx2") && kernels.hasSuffix("give the same bits"))
    let library =
      Arithmetic(kernels: "avx512", openblas: "OpenBLAS 0.3.21 SkylakeX").warning(goingOnWith: before) ?? ""
    #expect(library.contains("SkylakeX") && library.contains("last bits"))
  }
}
