import BinaryModel
import Collectives
import Coordinator
import DurableFiles
import Foundation
import Kernels
import RunSettings
import Telemetry
import Testing
import Training

/// An objective that the modules know nothing of goes through the same loop: schedule, exchange, evaluation, metrics,
/// checkpoints, resume. Under mpirun (`scripts/mpi-tests.sh`) in a world of any size, which ends with the same weights.
@Suite(.serialized) struct ObjectiveTests {
  /// Sequences whose first words tell their class: which half of the vocabulary they are from.
  private struct HalvesOfTheVocabulary: Samples {
    typealias Labels = ClassLabels
    static let vocabulary = 40
    static let length = 8
    let count: Int
    /// Tells the samples to train on from those held out.
    let seed: UInt64

    var shards: [(name: String, count: Int)] { [("made up", count)] }

    func sample(_ id: UInt64, epoch: UInt32) throws(TrainingError) -> Batch<ClassLabels> {
      var draws = CounterRandom(seed: seed, purpose: .masking).stream(UInt32(id))
      let label = Int32(draws.next(below: 2))
      let half = UInt32(Self.vocabulary / 2)
      let ids = (0..<Self.length).map { _ in Int32(draws.next(below: half)) + label * Int32(half) }
      return Batch(
        tokens: TokenBatch(
          sequences: 1, length: Self.length, inputIDs: ids, tokenTypeIDs: [Int32](repeating: 0, count: 8),
          lengths: [Int32(Self.length)], sampleIDs: [id], epoch: epoch),
        labels: ClassLabels(classes: [label]))
    }
  }

  private static func inputs() throws -> RunInputs<LinearProbe> {
    let text = """
      seed: 3
      threads: 1
      model:
        hidden_size: 32
        layers: 1
        heads: 2
        intermediate_size: 32
        maximum_length: 8
        estimator_rank: 1
        dropout: 0.0
      data:
        corpus: none
        sequence_length: 8
      training:
        steps: 40
        global_batch: 16
        micro_batch: 2
        learning_rate: 0.05
        warmup_steps: 2
        weight_decay: 0
        gradient_clip: 0
      evaluation:
        every: 20
        sequences: 51
      checkpoint:
        every: 10
        keep: 2
      """
    let configuration = try RunConfiguration.parse(text, file: "probe.yaml")
    return try RunInputs(
      configuration, LinearProbe(classes: 2), training: HalvesOfTheVocabulary(count: 300, seed: 1),
      heldOut: HalvesOfTheVocabulary(count: 51, seed: 2), vocabularySize: HalvesOfTheVocabulary.vocabulary,
      vocabularyDigest: "made up", corpusDigest: "made up")
  }

  /// Trains in `folder`, in a world that may be of one rank.
  private static func train(_ folder: String, world: borrowing World) throws -> ExitCode {
    try inputs().train(
      PretrainOptions(configurationFile: "probe.yaml", runDirectory: folder), start: .now, world: world)
  }

  /// Trains at a stretch, and again from a checkpoint on; checks what came of it, and prints the digest of the weights.
  private static func check(_ world: borrowing World) throws {
    let own = FileManager.default.temporaryDirectory.appending(path: "bipft-objective-\(UUID())").path
    let folder = String(decoding: try world.broadcast(Array(own.utf8), from: 0), as: UTF8.self)
    defer { try? FileManager.default.removeItem(atPath: own) }
    let (whole, resumed) = (folder + "/whole", folder + "/resumed")
    let last = "/checkpoints/step-00000040"
    #expect(try train(whole, world: world) == .finished)
    if world.rank == 0 {
      try FileManager.default.copyItem(atPath: whole, toPath: resumed)
      try FileManager.default.removeItem(atPath: resumed + last)
    }
    try world.barrier()
    #expect(try train(resumed, world: world) == .finished)
    guard world.rank == 0 else { return }
    func digest(_ run: String) throws -> String {
      SHA256.digest([UInt8](try Data(contentsOf: URL(fileURLWithPath: run + last + "/model.safetensors"))))
    }
    #expect(try digest(whole) == digest(resumed))
    #expect(try RunHistory(run: resumed).events().count { $0.event == .start && $0.step == 30 } == 1)
    let records = try MetricsFile.records(path: whole + "/metrics.jsonl")
    let evaluations = records.filter { $0.kind == .eval }
    #expect(evaluations.map(\.step) == [0, 20, 40])
    for record in records {
      #expect(record.losses.map(\.key) == ["probe_loss"] && record.loss == record.losses[0].value)
    }
    for record in evaluations {
      let metrics = Dictionary(uniqueKeysWithValues: record.metrics.map { ($0.key, $0.value) })
      #expect(metrics["probe_rows"] == 51 && metrics["probe_in_order"] == 1)
    }
    let found = evaluations[2].metrics
    // Of a random encoder that stays as it is: 41 % right before the first step, 84 % after the last.
    #expect(found[0].key == "probe_accuracy" && found[0].value > 0.75 && evaluations[2].loss < 0.45)
    #expect(found[1].key == "probe_recall" && found[1].value > 0.6)
    print("weights of the probe: \(try digest(whole))")
  }

  /// In a process of its own, since a process enters a world once.
  @Test func aProbeTrainsInAWorldOfOne() async {
    await #expect(processExitsWith: .success) {
      try World.run { world in try ObjectiveTests.check(world) }
    }
  }

  @Test(
    .enabled("runs under mpirun (scripts/mpi-tests.sh)") {
      LaunchEnvironment(ProcessInfo.processInfo.environment).isLaunched
    })
  func aProbeTrainsInAnyWorld() throws { try World.run { world in try Self.check(world) } }
}
