import BinaryModel
import Coordinator
import Foundation
import Kernels
import Parameters
import TensorFiles
import Testing

struct CheckpointTests {
  let fixture: CheckpointFixture
  var layout: ParameterLayout { fixture.layout }
  init() throws { fixture = try CheckpointFixture() }

  @Test(arguments: [1, 2, 3, 8]) func writtenBySomeReadByOthers(ranks: Int) throws {
    let path = try fixture.write(step: 100, ranks: ranks)
    #expect(path == fixture.checkpoints + "/step-00000100")
    #expect(try fixture.folder.contents() == ["latest", "step-00000100"])
    #expect(
      try fixture.folder.contents("step-00000100")
        == ["manifest.json", "model.safetensors", "optimizer.safetensors", "state.json"])
    #expect(try String(contentsOfFile: fixture.checkpoints + "/latest", encoding: .utf8) == "step-00000100\n")
    try CheckpointStore.verify(path)
    let checkpoint = try Checkpoint(path: path)
    #expect(checkpoint.state == CheckpointFixture.state(step: 100, worldSize: ranks))
    try checkpoint.check(CheckpointFixture.tensors(layout), sizes: CheckpointFixture.sizes())
    let expected = FloatBuffer(count: layout.elementCount)
    let found = FloatBuffer(count: layout.elementCount)
    for vector in CheckpointFixture.vectors {
      CheckpointFixture.fill(expected.view, vector, step: 100, layout: layout)
      for readers in [1, 3] {
        found.view.fill(.nan)
        for reader in 0..<readers {
          let (from, to) = (
            layout.elementCount * reader / readers, layout.elementCount * (reader + 1) / readers
          )
          checkpoint.load(vector, layout: layout, into: FlatPart(start: from, values: found.view[from..<to]))
        }
        #expect(found.view.array == expected.view.array)
      }
    }
  }

  /// The bytes do not depend on how many ranks wrote them, but for the state, which says so.
  @Test func bytesDoNotDependOnRanks() throws {
    let other = try CheckpointFixture()
    let (one, five) = (try fixture.write(step: 7, ranks: 1), try other.write(step: 7, ranks: 5))
    for name in ["model.safetensors", "optimizer.safetensors"] {
      #expect(FileManager.default.contentsEqual(atPath: one + "/" + name, andPath: five + "/" + name))
    }
  }

  @Test func modelFileHasTheNamesOfTheMethod() throws {
    let file = try SafetensorsFile(path: fixture.write(step: 1) + "/model.safetensors")
    #expect(file.entries.map(\.name) == layout.parameters.map(\.name))
    #expect(file.metadata == ["format": "pt"])
    let optimizer = try SafetensorsFile(path: fixture.checkpoints + "/step-00000001/optimizer.safetensors")
    #expect(optimizer.find("exp_avg.cls.predictions.bias")?.shape == [30])
    #expect(optimizer.find("exp_avg_sq.bert.pooler.dense.input_clip_val")?.shape == [])
    #expect(optimizer.entries.count == 2 * layout.parameters.count)
  }

  @Test func anotherShapeNamesTensorShapesAndKey() throws {
    let checkpoint = try Checkpoint(path: fixture.write(step: 1))
    let wider = CheckpointFixture.layout(hidden: 16)
    #expect(
      throws: CheckpointError.otherShape(
        checkpoint: checkpoint.path, tensor: "bert.embeddings.word_embeddings.weight", stored: [30, 12],
        wanted: [30, 16], key: "model.hidden_size is 12 there and 16 here")
    ) { try checkpoint.check(CheckpointFixture.tensors(wider), sizes: CheckpointFixture.sizes(hidden: 16)) }
    let deeper = CheckpointFixture.layout(layers: 2)
    #expect(
      throws: CheckpointError.otherShape(
        checkpoint: checkpoint.path, tensor: "bert.encoder.layer.1.attention.self.q_m.weight", stored: nil,
        wanted: [1, 12], key: "model.layers is 1 there and 2 here")
    ) { try checkpoint.check(CheckpointFixture.tensors(deeper), sizes: CheckpointFixture.sizes(layers: 2)) }
    let shallower = CheckpointFixture.layout(layers: 0)
    #expect(
      throws: CheckpointError.otherShape(
        checkpoint: checkpoint.path, tensor: "bert.encoder.layer.0.attention.self.q_m.weight",
        stored: [1, 12],
        wanted: nil, key: "model.layers is 1 there and 0 here")
    ) {
      try checkpoint.check(CheckpointFixture.tensors(shallower), sizes: CheckpointFixture.sizes(layers: 0))
    }
    #expect(
      throws: CheckpointError.otherSizes(
        checkpoint: checkpoint.path, differences: "model.heads is 2 there and 4 here")
    ) { try checkpoint.check(CheckpointFixture.tensors(layout), sizes: CheckpointFixture.sizes(heads: 4)) }
  }

  @Test func changedRunsAreRefusedByField() throws {
    let state = CheckpointFixture.state(step: 1)
    var now = CheckpointFixture.identity()
    try state.check(against: now, checkpoint: "C")
    now.schedule = "e1"
    #expect(throws: CheckpointError.changed(checkpoint: "C", field: "schedule", stored: "e0", current: "e1"))
    {
      try state.check(against: now, checkpoint: "C")
    }
    now.corpus = "c1"
    now.vocabulary = "d1"
    now.configuration["seed"] = "2"
    now.configuration["training.weight_decay"] = "0"
    var allowed: Set<String> = []
    for (field, stored, current) in [
      ("seed", "1", "2"), ("training.weight_decay", "(not set)", "0"), ("vocabulary", "d0", "d1"),
      ("corpus", "c0", "c1"), ("schedule", "e0", "e1"),
    ] {
      let error = CheckpointError.changed(checkpoint: "C", field: field, stored: stored, current: current)
      #expect(throws: error) { try state.check(against: now, allowing: allowed, checkpoint: "C") }
      #expect(error.description.hasSuffix("set it back, or pass --allow-change \(field)"))
      allowed.insert(field)
    }
    try state.check(against: now, allowing: allowed, checkpoint: "C")
  }

  @Test func newestValidSkipsAndKeepsDamagedOnes() throws {
    #expect(try fixture.store.newestValid { Issue.record("\($0)") } == nil)
    for step in [10, 20, 30] { try fixture.write(step: step) }
    try (fixture.checkpoints + "/step-00000030/model.safetensors").changeFile { $0[500] ^= 1 }
    var lines: [String] = []
    #expect(try fixture.store.newestValid { lines.append($0) }?.step == 20)
    #expect(lines.count == 1 && lines[0].contains("step-00000030 is damaged: model.safetensors: bytes 0 to "))
    #expect(try fixture.store.list().map(\.step) == [10, 20, 30])
    for step in [10, 20] {
      try (fixture.checkpoints + "/step-000000\(step)/manifest.json").changeFile { $0 = Data() }
    }
    #expect {
      _ = try fixture.store.newestValid { _ in }
    } throws: { error in
      guard case CheckpointError.noValidCheckpoint(fixture.checkpoints, let damage) = error else {
        return false
      }
      return damage.count == 3 && "\(error)".contains("none is valid")
    }
  }

  @Test func unfinishedOnesDoNotCount() throws {
    try fixture.write(step: 10)
    let draft = CheckpointDraft(
      checkpoints: fixture.checkpoints, tensors: CheckpointFixture.tensors(layout),
      state: CheckpointFixture.state(step: 20))
    try draft.create()
    #expect(try fixture.folder.contents().contains(".step-00000020.partial"))
    #expect(try fixture.store.list().map(\.step) == [10])
    #expect(try fixture.store.newestValid { _ in }?.step == 10)
    try fixture.store.removeAbandoned()
    #expect(try fixture.folder.contents() == ["latest", "step-00000010"])
    try draft.create()
    try draft.discard()
    #expect(try fixture.folder.contents() == ["latest", "step-00000010"])
  }

  /// A job that dies at any moment of writing leaves the older checkpoint, or the new one whole.
  @Test(arguments: 0..<4) func deathInEachPhase(phase: Int) throws {
    let run = fixture.folder.path + "/run"
    do { _ = try RunDirectory(path: run) }
    let draft = CheckpointDraft(
      checkpoints: run + "/checkpoints", tensors: CheckpointFixture.tensors(layout),
      state: CheckpointFixture.state(step: 20))
    let state = VectorState(layout, step: 20)
    defer { withExtendedLifetime(state) {} }
    let snapshot = CheckpointSnapshot(
      state.parts([0..<layout.elementCount]), tensors: CheckpointFixture.tensors(layout))
    try draft.create()
    var digests = phase >= 1 ? try draft.write(snapshot) : [:]
    if phase >= 2 {
      // With phase 2 the manifest is written and the rename has not happened; with 3 only `latest` is missing.
      try draft.writeState()
      digests.merge(try draft.sharedDigests(snapshot, rank: 0)) { $1 }
      try draft.commit(digests)
      try FileManager.default.removeItem(atPath: run + "/checkpoints/latest")
      if phase == 2 {
        try FileManager.default.moveItem(
          atPath: draft.path, toPath: run + "/checkpoints/.step-00000020.partial")
      }
    }
    let directory = try RunDirectory(path: run)
    let found = try CheckpointStore(path: directory.checkpointsPath).newestValid { Issue.record("\($0)") }
    #expect(found?.step == (phase == 3 ? 20 : nil))
    #expect(try fixture.folder.contents("run/checkpoints") == (phase == 3 ? ["step-00000020"] : []))
  }

  @Test func summariesAndVerification() throws {
    let path = fixture.folder.path + "/run"
    #expect(throws: RunFolderError.file(.system(operation: "list", path: path, code: ENOENT))) {
      _ = try CheckpointStore(run: path)
    }
    let run = try RunDirectory(path: path)
    #expect(throws: RunFolderError.noRun(path: path)) { _ = try CheckpointStore(run: path) }
    try run.begin()
    let store = try CheckpointStore(run: path)
    #expect(try store.summaries().lines == [] && store.verifyAll().areWhole)
    for step in [10, 20] {
      try FileManager.default.moveItem(
        atPath: fixture.write(step: step), toPath: run.checkpointsPath + "/step-000000\(step)")
    }
    #expect(try store.summaries().lines.allSatisfy { $0.contains("written by 1 rank(s)") })
    #expect(try store.verifyAll().lines == [10, 20].map { "\(path)/checkpoints/step-000000\($0): whole" })
    try (run.checkpointsPath + "/step-00000010/state.json").changeFile { $0.removeLast() }
    let report = try store.verifyAll()
    #expect(report.damaged == 1 && report.failure == nil && !report.areWhole)
    #expect(report.lines[0].contains("damaged: state.json") && report.lines[1].hasSuffix("whole"))
    #expect(try store.summaries().lines[0].hasPrefix("step 10: checkpoint "))
  }

  @Test func retention() throws {
    for step in stride(from: 10, through: 80, by: 10) { try fixture.write(step: step) }
    try (fixture.checkpoints + "/step-00000070/optimizer.safetensors").changeFile { $0.removeLast() }
    // The damaged 70 neither counts nor goes; of the whole ones 80 and 60 stay, and every multiple of 40.
    #expect(try fixture.store.prune(keepLast: 1, keepEvery: 40) == [10, 20, 30, 50])
    #expect(try fixture.store.list().map(\.step) == [40, 60, 70, 80])
    // The best stays too, as long as it is said to be that.
    #expect(try fixture.store.prune(keepLast: 0, best: 40) == [])
    #expect(try fixture.store.prune(keepLast: 3) == [])
    #expect(try fixture.store.prune(keepLast: 0) == [40])
    #expect(try fixture.folder.contents() == ["latest", "step-00000060", "step-00000070", "step-00000080"])
  }

  /// A step that is redone after its checkpoint was damaged: the new one takes the name, the damaged one stays.
  @Test func redoneStep() throws {
    let path = try fixture.write(step: 10)
    try (path + "/model.safetensors").changeFile { $0[600] ^= 1 }
    try fixture.write(step: 10)
    try CheckpointStore.verify(path)
    #expect(try fixture.folder.contents() == ["latest", "step-00000010", "step-00000010.replaced-1"])
    #expect(try fixture.store.list().count == 1)
  }

  @Test func longRunsSortByNumber() throws {
    for step in [99_999_999, 100_000_000] { try fixture.write(step: step) }
    #expect(try fixture.store.list().map(\.step) == [99_999_999, 100_000_000])
    #expect(try fixture.folder.contents().contains("step-100000000"))
  }

  /// The state changes after any number of blocks has been written: the checkpoint is of the moment before. Parts of several
  /// ranges a rank, blocks and pieces of several tensors and several ranks.
  @Test(arguments: [0, 1, 7, 40, 1_000_000]) func whatIsNotYetWrittenIsKept(blocks: Int) throws {
    let layout = ModelLayout(
      ModelConfiguration(
        vocabularySize: 40_000, hiddenSize: 120, layers: 1, heads: 2, intermediateSize: 20, maximumLength: 8,
        estimatorRank: 1, dropout: 0.1), Pretraining()
    ).parameters
    let folder = try TemporaryFolder()
    let draft = CheckpointDraft(
      checkpoints: folder.path, tensors: CheckpointFixture.tensors(layout),
      state: CheckpointFixture.state(step: 30, worldSize: 2))
    let state = VectorState(layout, step: 30)
    defer { withExtendedLifetime(state) {} }
    let cuts = [0, 1_000_001, 1_000_002, 3_000_000, layout.elementCount]
    let ranges = zip(cuts, cuts.dropFirst()).map { $0..<$1 }
    let snapshots = [[ranges[0], ranges[2]], [ranges[3], ranges[1]]].map {
      CheckpointSnapshot(state.parts($0), tensors: CheckpointFixture.tensors(layout), blockSize: 1 << 20)
    }
    try draft.create()
    try draft.writeState()
    var digests = CheckpointDraft.Digests()
    var read = 0
    func change() {
      for snapshot in snapshots { snapshot.stateWillChange() }
      state.spoil()
    }
    if blocks == 0 { change() }
    for snapshot in snapshots {
      let own = try draft.write(snapshot) {
        read += 1
        if read == blocks { change() }
      }
      digests.merge(own) { $1 }
    }
    #expect(read > 60)
    for (rank, snapshot) in snapshots.enumerated() {
      digests.merge(try draft.sharedDigests(snapshot, rank: rank)) { $1 }
    }
    try draft.commit(digests)
    try CheckpointStore.verify(draft.path)
    let expected = FloatBuffer(count: layout.elementCount)
    let found = FloatBuffer(count: layout.elementCount)
    for vector in CheckpointFixture.vectors {
      CheckpointFixture.fill(expected.view, vector, step: 30, layout: layout)
      try Checkpoint(path: draft.path).load(
        vector, layout: layout, into: FlatPart(start: 0, values: found.view))
      #expect(found.view.array == expected.view.array)
    }
  }

  /// What the disk does not hold as it was written does not become a checkpoint.
  @Test func writtenBytesAreReadBack() throws {
    let draft = CheckpointDraft(
      checkpoints: fixture.checkpoints, tensors: CheckpointFixture.tensors(layout),
      state: CheckpointFixture.state(step: 10))
    let state = VectorState(layout, step: 10)
    defer { withExtendedLifetime(state) {} }
    let snapshot = CheckpointSnapshot(
      state.parts([0..<layout.elementCount]), tensors: CheckpointFixture.tensors(layout))
    try draft.create()
    let file = fixture.checkpoints + "/.step-00000010.partial/model.safetensors"
    var calls = 0
    #expect {
      _ = try draft.write(snapshot) {
        calls += 1
        // After both files are written and durable, before the first is read back.
        if calls == 3 { try? file.changeFile { $0[$0.count - 5] ^= 1 } }
      }
    } throws: { "\($0)".contains("reads back other bytes than were written") }
  }
}
