import BinaryModel
import Collectives
import Coordinator
import Foundation
import RunSettings
import Testing
import Training

/// A tiny corpus, a run over it that nothing disturbed, and runs of the same configuration that are disturbed and must
/// come to the same end. The model has several chunks of the flat vector, so that each of up to four ranks owns some of it;
/// the batches are small, so that it costs little.
///
/// `BIPFT_FAULT_ROUNDS=n` repeats what happens at random moments n times as often (1 by default);
/// `BIPFT_FAULT_SEED=s` repeats the moments of a printed seed.
final class FaultScene: Sendable {
  static let steps = 240
  static let rounds = max(
    1, ProcessInfo.processInfo.environment["BIPFT_FAULT_ROUNDS"].flatMap { Int($0) } ?? 1)
  private static let seed: UInt64 = {
    let seed =
      ProcessInfo.processInfo.environment["BIPFT_FAULT_SEED"].flatMap { UInt64($0) }
      ?? UInt64.random(in: 0..<1_000_000)
    print("random moments: BIPFT_FAULT_SEED=\(seed) BIPFT_FAULT_ROUNDS=\(rounds)")
    return seed
  }()

  let tiny: TinyRun
  private let metrics: [String]
  private let weights: Data
  private let moments: Data
  /// Seconds that the undisturbed run took.
  let duration: Double

  private static let shared = Result { try FaultScene() }
  static func get() throws -> FaultScene { try shared.get() }

  private init() throws {
    tiny = try TinyRun()
    let start = Date()
    let outcome = try Program.pretrain(Self.arguments(tiny, "reference"), ranks: 2)
    duration = Date().timeIntervalSince(start)
    precondition(outcome.code == 0, outcome.errors)
    (metrics, weights, moments) = try Self.results(tiny, "reference")
  }

  private static let settings = [
    "model.hidden_size=72", "model.intermediate_size=680", "data.sequence_length=16",
    "training.micro_batch=1", "training.global_batch=8", "training.steps=\(steps)",
    "evaluation.every=60", "checkpoint.every=20", "threads=1", "training.replica_check_every=10",
    "hang_timeout=30",
  ]

  private static func arguments(_ tiny: TinyRun, _ run: String) -> [String] {
    tiny.arguments(run, settings.flatMap { ["--set", $0] })
  }

  /// The most ranks of a job.
  static let mostRanks = 4

  /// Elements of the flat vector that each of `mostRanks` ranks owns.
  func elementsOfRanks() throws -> [Int] {
    let configuration = try RunConfiguration.load(
      file: tiny.scratch.path("tiny.yaml"), overrides: Self.settings)
    let inputs = try RunInputs(onCorpusOf: configuration, Pretraining())
    return SlicePartition(count: inputs.layout.parameters.elementCount, size: Self.mostRanks).slices.map {
      $0.reduce(0) { $0 + $1.count }
    }
  }

  private static func results(_ tiny: TinyRun, _ run: String) throws -> ([String], Data, Data) {
    let name = run + "/checkpoints/" + checkpointName(step: steps)
    return (
      try tiny.metrics(run), try tiny.scratch.bytes(name + "/model.safetensors"),
      try tiny.scratch.bytes(name + "/optimizer.safetensors")
    )
  }

  /// A generator for the test `name`, the same for the same seed.
  static func random(_ name: String) -> TestRandom {
    TestRandom(state: name.utf8.reduce(seed) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 })
  }

  /// Starts or goes on with the run `name`.
  func start(
    _ name: String, ranks: Int, _ settings: [String] = [], more: [String] = [],
    environment: [String: String] = [:]
  ) throws -> FaultJob {
    // A key given here takes the place of the scene's.
    let keys = settings.map { $0.prefix { $0 != "=" } + "=" }
    var arguments = Self.arguments(tiny, name)
    for key in keys {
      if let index = arguments.firstIndex(where: { $0.hasPrefix(key) }) {
        arguments.removeSubrange(index - 1...index)
      }
    }
    return try FaultJob(
      arguments + settings.flatMap { ["--set", $0] } + more, run: path(name),
      // Not within the run, which may be on a disk that is full.
      log: path("log-\(UUID().uuidString)"), ranks: ranks, environment: environment)
  }

  func path(_ name: String) -> String { tiny.scratch.path(name) }

  func state(_ name: String) throws -> RunState? { try RunDirectory.identify(path(name)) }

  /// No checkpoint that the job said to be there is lost or damaged.
  func expectKept(
    _ name: String, after job: FaultJob, location: SourceLocation = #_sourceLocation
  ) throws {
    guard let step = job.lastCheckpoint else { return }
    let newest = try CheckpointStore(path: path(name) + "/checkpoints").newestValid {
      Issue.record("\($0)", sourceLocation: location)
    }
    #expect((newest?.step ?? -1) >= step, "\(name)", sourceLocation: location)
  }

  /// Goes on with the run to its end, and compares curve, weights, moments and history with the undisturbed run.
  func expectSameEnd(
    _ name: String, ranks: Int, location: SourceLocation = #_sourceLocation
  ) throws {
    let job = try start(name, ranks: ranks)
    let code = job.end(location: location)
    #expect(code == 0, "\(name): \(job.output)", sourceLocation: location)
    guard code == 0 else { return }
    try expectSameResults(name, location: location)
    #expect(try state(name)?.status == .finished, sourceLocation: location)
    let left = try FileManager.default.contentsOfDirectory(atPath: path(name))
    #expect(
      Set(left) == [
        "checkpoints", "config.yaml", "events", "history.jsonl", "lock", "log.txt", "measurements.jsonl",
        "metrics.jsonl", "metrics.prom", "vitals.jsonl",
        "state.json",
      ],
      sourceLocation: location)
    let audit = try Program.bipft(["schedule", "--audit", path(name)])
    #expect(audit.code == 0, "\(audit.output)\(audit.errors)", sourceLocation: location)
    #expect(try CheckpointStore(run: path(name)).verifyAll().areWhole, sourceLocation: location)
  }

  /// The run has ended with the curve, the weights and the moments of the undisturbed one.
  func expectSameResults(_ name: String, location: SourceLocation = #_sourceLocation) throws {
    let (metrics, weights, moments) = try Self.results(tiny, name)
    #expect(metrics == self.metrics, "\(name): another curve", sourceLocation: location)
    #expect(weights == self.weights, "\(name): other weights", sourceLocation: location)
    #expect(moments == self.moments, "\(name): other moments", sourceLocation: location)
  }

  /// Removes a run that is not needed any more.
  func remove(_ name: String) throws { try FileManager.default.removeItem(atPath: path(name)) }

  /// A copy of a run that was stopped in order at some step with checkpoints of several steps, to be damaged.
  func copy(_ name: String, to copy: String) throws {
    try FileManager.default.copyItem(atPath: path(name), toPath: path(copy))
  }
}

/// splitmix64 (Steele, Lea and Flood 2014).
struct TestRandom: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var word = state
    word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
    word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
    return word ^ word >> 31
  }
}

func sleep(_ seconds: Double) { usleep(UInt32(seconds * 1e6)) }
