import Foundation
import Testing
import Training

/// A run is defined by its configuration: neither the number of ranks and threads, nor who keeps the state, nor stops
/// change a bit. With a model of several chunks of the flat vector, so that every rank owns some of it, and with matrices
/// whose rows fill no whole words and that chunks cut anywhere.
@Suite(.serialized) struct InvarianceTests {
  private static let shape = [
    "model.hidden_size=120", "model.intermediate_size=488", "model.layers=3", "model.heads=3",
  ]
  /// An epoch ends within.
  private static let steps = 12

  private static func settings(_ more: [String], shape: [String] = shape) -> [String] {
    (shape + ["evaluation.every=6", "checkpoint.every=100"] + more).flatMap { ["--set", $0] }
  }

  /// Runs, and returns metrics and final weights.
  private static func run(
    _ tiny: TinyRun, _ name: String, ranks: Int, _ more: [String] = [], shape: [String] = shape
  ) throws -> (metrics: [String], weights: Data) {
    let result = try Program.pretrain(
      tiny.arguments(name, settings(["training.steps=\(steps)"] + more, shape: shape)), ranks: ranks)
    try #require(result.code == 0, "\(name): \(result.errors)")
    return (try tiny.metrics(name), try tiny.weights(name, step: steps))
  }

  @Test(.timeLimit(.minutes(4))) func ranksThreadsAndSynchronisationChangeNothing() throws {
    let tiny = try TinyRun()
    let expected = try Self.run(tiny, "alone", ranks: 1)
    #expect(expected.metrics.count == Self.steps + 3)
    let epochs = try plan(tiny, ranks: 1, []).epochs
    #expect(epochs > 1, "no epoch ends within")
    for synchronisation in Synchronisation.allCases {
      for (ranks, threads) in [
        (1, 2), (2, 1), (2, 2), (3, 1), (3, 2), (4, 1), (5, 1), (5, 2), (8, 1), (8, 2),
      ] {
        let name = "\(synchronisation)-\(ranks)-\(threads)"
        let more = ["synchronisation=\(synchronisation)", "threads=\(threads)"]
        let run = try Self.run(tiny, name, ranks: ranks, more)
        #expect(run.metrics == expected.metrics, "\(name)")
        #expect(run.weights == expected.weights, "\(name)")
      }
    }
  }

  @Test(.timeLimit(.minutes(2))) func narrowGradientsDependOnNothingElse() throws {
    let tiny = try TinyRun()
    let wide = try Self.run(tiny, "wide", ranks: 2)
    let expected = try Self.run(tiny, "narrow", ranks: 1, ["gradient_format=bfloat16"])
    #expect(expected.weights != wide.weights)
    for (ranks, synchronisation) in [(2, "sharded"), (3, "sharded"), (5, "replicated"), (8, "sharded")] {
      let name = "narrow-\(ranks)"
      let run = try Self.run(
        tiny, name, ranks: ranks, ["gradient_format=bfloat16", "synchronisation=\(synchronisation)"])
      #expect(run.metrics == expected.metrics, "\(name)")
      #expect(run.weights == expected.weights, "\(name)")
    }
  }

  /// With a model of several buckets of the flat vector, of which all but the last few become complete before the end.
  @Test(.timeLimit(.minutes(4))) func exchangeDuringBackwardChangesNothing() throws {
    let tiny = try TinyRun()
    let shape = [
      "model.hidden_size=240", "model.intermediate_size=1200", "model.layers=3", "model.heads=3",
    ]
    for format in ["float32", "bfloat16"] {
      let settings = ["gradient_format=\(format)"]
      let expected = try Self.run(tiny, format, ranks: 1, settings, shape: shape)
      for (ranks, more) in [
        (1, ["overlap_exchange=true"]), (2, ["overlap_exchange=false"]), (2, ["overlap_exchange=true"]),
        (3, ["overlap_exchange=true"]), (8, ["overlap_exchange=true"]),
        (3, ["overlap_exchange=true", "synchronisation=replicated"]),
        (8, ["overlap_exchange=true", "synchronisation=replicated"]),
      ] {
        let name = ([format, String(ranks)] + more).joined(separator: "-")
        let run = try Self.run(tiny, name, ranks: ranks, settings + more, shape: shape)
        #expect(run.metrics == expected.metrics, "\(name)")
        #expect(run.weights == expected.weights, "\(name)")
      }
    }
  }

  /// Where a step is skipped, what has been exchanged is dropped.
  @Test(.timeLimit(.minutes(1))) func aSkippedStepDropsWhatWasExchanged() throws {
    let tiny = try TinyRun()
    let results = try ["false", "true"].map { overlap in
      let arguments = tiny.arguments(
        overlap, Self.settings(["training.steps=\(Self.steps)", "overlap_exchange=\(overlap)"]))
      let result = try Program.pretrain(
        arguments, ranks: 3, environment: ["BIPFT_TEST_FAULTS": "nan:1:5,nan:0:9"])
      try #require(result.code == 0, "\(result.errors)")
      return (try tiny.metrics(overlap), try tiny.weights(overlap, step: Self.steps))
    }
    #expect(results[0].0.count { $0.contains("\"skipped\"") } == 2)
    #expect(results[0].0 == results[1].0 && results[0].1 == results[1].1)
  }

  // MARK: Bytes

  private func plan(_ tiny: TinyRun, ranks: Int, _ more: [String]) throws -> RunPlan {
    let configuration = try RunConfiguration.load(
      file: tiny.scratch.path("tiny.yaml"),
      overrides: Self.shape + ["training.steps=\(Self.steps)"] + more)
    let inputs = try RunInputs(configuration)
    return try RunPlan(
      configuration, vocabularySize: inputs.corpus.vocabulary.count,
      trainingSamples: inputs.batches.schedule.sampleCount, ranks: ranks)
  }

  @Test(.timeLimit(.minutes(2))) func everyStepSendsWhatThePlanSays() throws {
    let tiny = try TinyRun()
    let formats = ["gradient_format=float32", "gradient_format=bfloat16"]
    for (ranks, more) in [
      (2, [formats[0]]), (3, [formats[0]]), (8, [formats[0]]), (3, [formats[1]]),
      (3, [formats[1], "overlap_exchange=true"]),
      (3, [formats[1], "synchronisation=replicated"]), (8, [formats[0], "synchronisation=replicated"]),
    ] {
      let name = ([String(ranks)] + more).joined(separator: "-")
      _ = try Self.run(tiny, name, ranks: ranks, more)
      let lines = try tiny.scratch.text(name + "/measurements.jsonl").split(separator: "\n")
      func values(_ key: String) -> [Int] {
        lines.compactMap { line in
          line.split(separator: ", ").first { $0.contains("\"\(key)\": ") }
            .flatMap { Int($0.drop { !$0.isNumber }.prefix { $0.isNumber }) }
        }
      }
      let plan = try plan(tiny, ranks: ranks, more)
      #expect(
        values("bytes_sent") == Array(repeating: plan.traffic.total, count: Self.steps), "\(name)")
      #expect(
        values("bytes_sent_busiest_rank") == Array(repeating: plan.mostSent, count: Self.steps), "\(name)")
    }
  }

  // MARK: Stops

  /// Starts a run, stops it with SIGUSR1 once its metrics hold `lines` lines more, and waits for its end.
  private func runUntil(
    _ lines: Int, _ tiny: TinyRun, _ name: String, ranks: Int, _ more: [String]
  ) throws -> Int32 {
    let metrics = tiny.scratch.path(name + "/metrics.jsonl")
    func count() -> Int {
      FileManager.default.contents(atPath: metrics)?.reduce(0) { $0 + ($1 == UInt8(ascii: "\n") ? 1 : 0) }
        ?? 0
    }
    let before = count()
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments =
      ["mpirun", "-n", "\(ranks)", "--timeout", "100"]
      + [Program.folder.appendingPathComponent("bipft-pretrain").path] + tiny.arguments(name, more)
    process.environment = ProcessInfo.processInfo.environment.merging(Program.mpiEnvironment) { $1 }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    // A child inherits the blocked signals of the thread that starts it, and those of the test runner block SIGUSR1.
    var (none, blocked) = (sigset_t(), sigset_t())
    sigemptyset(&none)
    pthread_sigmask(SIG_SETMASK, &none, &blocked)
    defer { pthread_sigmask(SIG_SETMASK, &blocked, nil) }
    try process.run()
    while process.isRunning && count() < before + lines { usleep(5000) }
    kill(process.processIdentifier, SIGUSR1)
    process.waitUntilExit()
    return process.terminationStatus
  }

  @Test(.timeLimit(.minutes(2)), arguments: ["sharded", "replicated"])
  func stoppedRunsGoOnWithOtherRanks(synchronisation: String) throws {
    let tiny = try TinyRun()
    // Long enough that a signal comes before the end. Where the stops fall is chance, what comes out is not.
    let steps = 80
    func settings(_ more: [String]) -> [String] { Self.settings(["training.steps=\(steps)"] + more) }
    let whole = try Program.pretrain(tiny.arguments("whole", settings([])), ranks: 2)
    #expect(whole.code == 0, "\(whole.errors)")
    let more = settings(["synchronisation=\(synchronisation)"])
    for ranks in [8, 3] {
      let code = try runUntil(Int.random(in: 2...15), tiny, "cut", ranks: ranks, more)
      #expect(code == 75, "\(ranks) ranks")
    }
    let last = try Program.pretrain(tiny.arguments("cut", more), ranks: 8)
    #expect(last.code == 0 && last.errors.contains("going on from"), "\(last.errors)")
    #expect(try tiny.metrics("cut") == tiny.metrics("whole"))
    #expect(try tiny.weights("cut", step: steps) == tiny.weights("whole", step: steps))
  }
}
