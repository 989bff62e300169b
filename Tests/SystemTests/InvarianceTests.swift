import BinaryModel
import Collectives
import Coordinator
import Foundation
import Kernels
import Planning
import RunSettings
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

  private static func settings(_ more: [String]) -> [String] {
    (shape + ["evaluation.every=6", "checkpoint.every=100"] + more).flatMap { ["--set", $0] }
  }

  /// Runs, and returns metrics and final weights.
  private static func run(
    _ tiny: TinyRun, _ name: String, ranks: Int, _ more: [String] = [], environment: [String: String] = [:]
  ) throws -> (metrics: [String], weights: Data) {
    let result = try Program.pretrain(
      tiny.arguments(name, settings(["training.steps=\(steps)"] + more)), ranks: ranks,
      environment: environment)
    try #require(result.code == 0, "\(name): \(result.errors)")
    return (try tiny.metrics(name), try tiny.weights(name, step: steps))
  }

  @Test(.timeLimit(.minutes(4)), arguments: GradientFormat.allCases)
  func ranksThreadsAndSynchronisationChangeNothing(format: GradientFormat) throws {
    let tiny = try TinyRun()
    let settings = ["gradient_format=\(format)"]
    let expected = try Self.run(tiny, "alone", ranks: 1, settings)
    #expect(expected.metrics.count == Self.steps + 3)
    let epochs = try plan(tiny, ranks: 1, []).epochs
    #expect(epochs > 1, "no epoch ends within")
    for synchronisation in Synchronisation.allCases {
      for (ranks, threads) in [
        (1, 2), (2, 1), (2, 2), (3, 1), (4, 1), (5, 2), (7, 1), (8, 1),
      ] {
        let lanes = ranks % 2 == 0 ? "fixed" : "dynamic"
        let name = "\(synchronisation)-\(ranks)-\(threads)"
        let more = ["synchronisation=\(synchronisation)", "threads=\(threads)", "lanes=\(lanes)"]
        let run = try Self.run(tiny, name, ranks: ranks, settings + more)
        #expect(run.metrics == expected.metrics, "\(name)")
        #expect(run.weights == expected.weights, "\(name)")
      }
    }
  }

  /// Every instruction set, and ranks of all kinds together, with each way of backward.
  @Test(.timeLimit(.minutes(4)), arguments: BackwardPrecision.allCases)
  func instructionSetsChangeNothing(precision: BackwardPrecision) throws {
    let tiny = try TinyRun()
    let settings = ["training.backward_precision=\(precision)"]
    let sets = InstructionSet.available
    let expected = try Self.run(tiny, "alone", ranks: 1, settings, environment: ["BIPFT_KERNELS": sets[0]])
    for set in sets.dropFirst() {
      let run = try Self.run(tiny, set, ranks: 2, settings, environment: ["BIPFT_KERNELS": set])
      #expect(run.metrics == expected.metrics && run.weights == expected.weights, "\(set)")
    }
    let choose =
      "sets=(\(sets.joined(separator: " "))); export BIPFT_KERNELS=${sets[$OMPI_COMM_WORLD_RANK % ${#sets[@]}]}"
    let result = try Program.run(
      "/usr/bin/env",
      [
        "mpirun", "-n", "4", "bash", "-c", choose + "; exec \"$@\"", "bash",
        Program.folder.appendingPathComponent("bipft-pretrain").path,
      ]
        + tiny.arguments("mixed", Self.settings(["training.steps=\(Self.steps)"] + settings)),
      environment: Program.mpiEnvironment)
    try #require(result.code == 0, "\(result.errors)")
    #expect(try tiny.metrics("mixed") == expected.metrics)
    #expect(try tiny.weights("mixed", step: Self.steps) == expected.weights)
  }

  /// What is fitted before the first update, with gradients that pass apart from the step sizes; killed and resumed, too.
  @Test(.timeLimit(.minutes(2))) func theFitDependsOnNothingElse() throws {
    let tiny = try TinyRun()
    let fit = [
      "model.step_size_fit=output", "model.gradient_window=1.5", "estimators.fit=closed_form",
      "estimators.per_head=true",
    ]
    let plain = try Self.run(tiny, "plain", ranks: 2)
    let expected = try Self.run(tiny, "fit", ranks: 1, fit)
    #expect(expected.weights != plain.weights)
    for (ranks, more) in [
      (1, ["threads=2"]), (2, []), (3, ["threads=2"]), (4, ["synchronisation=replicated"]), (8, []),
    ] {
      let name = "fit-\(ranks)-\(more.count)"
      let run = try Self.run(tiny, name, ranks: ranks, fit + more)
      #expect(run.metrics == expected.metrics, "\(name)")
      #expect(run.weights == expected.weights, "\(name)")
    }
  }

  /// Activations of several bits, in every backward precision; stopped half-way and resumed with other ranks, too.
  @Test(
    .timeLimit(.minutes(3)),
    arguments: [(1, "relu", "int8"), (2, "relu", "int8"), (4, "gelu", "bfloat16"), (8, "relu", "float32")])
  func activationBitsDependOnNothingElse(bits: Int, activation: String, precision: String) throws {
    let tiny = try TinyRun()
    let settings = [
      "model.activation_bits=\(bits)", "model.ffn_activation=\(activation)",
      "training.backward_precision=\(precision)",
    ]
    let expected = try Self.run(tiny, "alone", ranks: 1, settings)
    for (ranks, more) in [
      (1, ["threads=2"]), (2, ["lanes=dynamic"]), (4, ["synchronisation=replicated"]), (8, []),
    ] {
      let name = "\(ranks)-\(more.count)"
      let run = try Self.run(tiny, name, ranks: ranks, settings + more)
      #expect(run.metrics == expected.metrics, "\(name)")
      #expect(run.weights == expected.weights, "\(name)")
    }
    let fault = ["BIPFT_TEST_FAULTS": "kill:1:8"]
    let often = settings + ["checkpoint.every=5"]
    let arguments = tiny.arguments("resumed", Self.settings(["training.steps=\(Self.steps)"] + often))
    let stopped = try Program.pretrain(arguments, ranks: 2, environment: fault)
    #expect(stopped.code != 0, "nothing stopped it")
    let resumed = try Program.pretrain(arguments, ranks: 3)
    #expect(resumed.code == 0, "\(resumed.errors)")
    #expect(try tiny.weights("resumed", step: Self.steps) == expected.weights)
  }

  @Test func formatsAreOtherRuns() throws {
    let tiny = try TinyRun()
    let runs = try GradientFormat.allCases.map {
      try Self.run(tiny, "\($0)", ranks: 2, ["gradient_format=\($0)"])
    }
    #expect(runs[0].weights != runs[1].weights)
  }

  /// Several hosts, of equal and of unequal numbers of ranks, and lanes for whoever is free.
  @Test(.timeLimit(.minutes(3))) func hostsAndLanesChangeNothing() throws {
    let tiny = try TinyRun()
    for format in GradientFormat.allCases {
      let settings = ["gradient_format=\(format)"]
      let expected = try Self.run(tiny, "\(format)", ranks: 1, settings)
      for (ranks, perHost, more) in [
        (4, 2, []), (5, 3, ["lanes=dynamic"]), (7, 3, ["synchronisation=replicated"]),
        (8, 4, ["lanes=dynamic"]),
        (8, 1, []),
      ] {
        let name = "\(format)-\(ranks)-\(perHost)"
        let run = try Self.run(
          tiny, name, ranks: ranks, settings + more, environment: ["BIPFT_TEST_HOST_RANKS": "\(perHost)"])
        #expect(run.metrics == expected.metrics, "\(name)")
        #expect(run.weights == expected.weights, "\(name)")
      }
    }
  }

  /// Powers of two that are too small at random steps: those steps are done again, on all ranks alike.
  @Test(.timeLimit(.minutes(2)), arguments: GradientFormat.allCases)
  func stepsDoneAgainDependOnNothingElse(format: GradientFormat) throws {
    let tiny = try TinyRun()
    var random = FaultScene.random("small-powers-\(format)")
    let moments = (2...Self.steps).shuffled(using: &random).prefix(3)
    let faults = moments.map { "small-powers:0:\($0)" }.joined(separator: ",")
    let settings = ["gradient_format=\(format)"]
    let environment = ["BIPFT_TEST_FAULTS": faults]
    func repeated(_ name: String) throws -> [Int] {
      try tiny.measured(name, "repeated_sums")
    }
    let expected = try Self.run(tiny, "alone", ranks: 1, settings, environment: environment)
    let repeats = try repeated("alone")
    #expect(repeats[0] >= 1, "nothing is known before the first step")
    for moment in moments { #expect(repeats[moment - 1] >= 1, "step \(moment)") }
    for (ranks, more) in [
      (2, ["lanes=dynamic"]), (3, []), (5, ["synchronisation=replicated"]), (8, ["lanes=dynamic"]),
    ] {
      let run = try Self.run(tiny, "\(ranks)", ranks: ranks, settings + more, environment: environment)
      #expect(run.metrics == expected.metrics && run.weights == expected.weights, "\(ranks) ranks, \(faults)")
      #expect(try repeated("\(ranks)") == repeats)
    }
  }

  /// A rank that is stopped and goes on at random moments leaves its lanes to the others; the result is the same.
  @Test(.timeLimit(.minutes(2))) func aRankThatStandsStillForAWhileChangesNothing() throws {
    let tiny = try TinyRun()
    let expected = try Self.run(tiny, "alone", ranks: 1)
    var random = FaultScene.random("pauses")
    let job = try FaultJob(
      tiny.arguments("paused", Self.settings(["training.steps=\(Self.steps)", "lanes=dynamic"])),
      run: tiny.scratch.path("paused"), log: tiny.scratch.path("log"), ranks: 4)
    job.wait { job.output.contains("starting") }
    var pauses = 0
    for _ in 0..<12 {
      let rank = Int.random(in: 0..<4, using: &random)
      guard job.signal(SIGSTOP, rank: rank) else { break }
      pauses += 1
      usleep(UInt32.random(in: 20_000..<150_000, using: &random))
      job.signal(SIGCONT, rank: rank)
      usleep(UInt32.random(in: 0..<50_000, using: &random))
    }
    let code = job.end()
    #expect(code == 0 && pauses > 0, "\(pauses) pauses: \(job.output)")
    #expect(try tiny.metrics("paused") == expected.metrics)
    #expect(try tiny.weights("paused", step: Self.steps) == expected.weights)
  }

  /// A micro-batch of 40 sequences of 32 tokens is computed in two slices, whose gradients are added in their order.
  @Test(.timeLimit(.minutes(2)), arguments: BackwardPrecision.allCases)
  func slicesOfAMicroBatchDependOnNothingElse(precision: BackwardPrecision) throws {
    let tiny = try TinyRun()
    let settings = [
      "training.micro_batch=40", "training.global_batch=80", "training.backward_precision=\(precision)",
    ]
    let configuration = try RunConfiguration.load(
      file: tiny.scratch.path("tiny.yaml"), overrides: Self.shape + settings)
    #expect(configuration.sliceSequences < 40, "a micro-batch is one slice")
    let expected = try Self.run(tiny, "\(precision)", ranks: 1, settings)
    for (index, more) in [["threads=2"], ["lanes=dynamic"], ["synchronisation=replicated"]].enumerated() {
      let name = "\(precision)-\(index)"
      let run = try Self.run(tiny, name, ranks: 2, settings + more)
      #expect(run.metrics == expected.metrics, "\(name)")
      #expect(run.weights == expected.weights, "\(name)")
    }
  }

  /// Steps that are skipped leave no trace in the sums.
  @Test(.timeLimit(.minutes(1))) func skippedStepsDependOnNothingElse() throws {
    let tiny = try TinyRun()
    let runs = try [(3, "nan:1:5,nan:0:9"), (2, "nan:0:5,nan:1:9")].map { ranks, faults in
      try Self.run(tiny, "\(ranks)", ranks: ranks, environment: ["BIPFT_TEST_FAULTS": faults])
    }
    #expect(runs[0].metrics.count { $0.contains("\"skipped\"") } == 2)
    #expect(runs[0].metrics == runs[1].metrics && runs[0].weights == runs[1].weights)
  }

  // MARK: Bytes

  private func plan(_ tiny: TinyRun, ranks: Int, perHost: Int? = nil, _ more: [String]) throws -> RunPlan {
    let configuration = try RunConfiguration.load(
      file: tiny.scratch.path("tiny.yaml"),
      overrides: Self.shape + ["training.steps=\(Self.steps)"] + more)
    return try Objectives.inputs(configuration).plan(on: HostLayout(ranks: ranks, perHost: perHost ?? ranks))
  }

  @Test(.timeLimit(.minutes(2))) func everyStepSendsWhatThePlanSays() throws {
    let tiny = try TinyRun()
    let formats = ["gradient_format=int32", "gradient_format=int16"]
    let replicated = "synchronisation=replicated"
    for (ranks, perHost, more) in [
      (2, 2, [formats[0]]), (3, 3, [formats[1]]), (8, 8, [formats[0]]), (4, 2, [formats[0]]),
      (7, 3, [formats[1]]),
      (5, 3, [formats[0], replicated]), (8, 8, [formats[1], replicated]),
    ] {
      let name = (["\(ranks)-\(perHost)"] + more).joined(separator: "-")
      _ = try Self.run(
        tiny, name, ranks: ranks, more, environment: ["BIPFT_TEST_HOST_RANKS": "\(perHost)"])
      let plan = try plan(tiny, ranks: ranks, perHost: perHost, more)
      #expect(
        try tiny.measured(name, "bytes_sent") == Array(repeating: plan.traffic.total, count: Self.steps),
        "\(name)")
      #expect(
        try tiny.measured(name, "bytes_sent_busiest_rank")
          == Array(repeating: plan.mostSent, count: Self.steps), "\(name)")
    }
  }

  // MARK: Stops

  /// Part of a run: a job that is stopped in its step `stop`, or goes to the end.
  private struct Part {
    let ranks: Int
    var settings: [String] = []
    var stop: Int?
  }

  /// Does a run in parts, and expects what the run `whole` came to.
  private func expectSameEnd(
    _ tiny: TinyRun, _ name: String, as whole: (metrics: [String], weights: Data), _ parts: [Part],
    _ more: [String] = [], location: SourceLocation = #_sourceLocation
  ) throws {
    let label = parts.map { "\($0.ranks) ranks \($0.settings) to \($0.stop ?? Self.stopSteps)" }
    for (index, part) in parts.enumerated() {
      // Any rank may be told.
      let stop = part.stop.map { ["BIPFT_TEST_FAULTS": "stop:\($0 % part.ranks):\($0)"] } ?? [:]
      let result = try Program.pretrain(
        tiny.arguments(name, Self.settings(["training.steps=\(Self.stopSteps)"] + more + part.settings)),
        ranks: part.ranks, environment: stop)
      try #require(
        result.code == (part.stop == nil ? 0 : 75), "\(label): \(result.errors)", sourceLocation: location)
      #expect(result.errors.contains("going on from") == (index > 0), sourceLocation: location)
      let state = try RunDirectory.identify(tiny.scratch.path(name))
      #expect(state?.step == part.stop ?? Self.stopSteps, "\(label)", sourceLocation: location)
    }
    #expect(try tiny.metrics(name) == whole.metrics, "\(label)", sourceLocation: location)
    #expect(
      try tiny.weights(name, step: Self.stopSteps) == whole.weights, "\(label)", sourceLocation: location)
    let audit = try Program.bipft(["schedule", "--audit", tiny.scratch.path(name)])
    #expect(audit.code == 0, "\(label): \(audit.output)", sourceLocation: location)
  }

  /// More than two epochs.
  private static let stopSteps = 30

  private func wholeRun(
    _ tiny: TinyRun, _ more: [String] = []
  ) throws -> (metrics: [String], weights: Data) {
    let result = try Program.pretrain(
      tiny.arguments("whole", Self.settings(["training.steps=\(Self.stopSteps)"] + more)), ranks: 2)
    try #require(result.code == 0, "\(result.errors)")
    return (try tiny.metrics("whole"), try tiny.weights("whole", step: Self.stopSteps))
  }

  /// `count` different steps of the run but its last, in order; random, of a printed seed (see `FaultScene`).
  private func moments(_ count: Int, _ name: String) -> [Int] {
    var random = FaultScene.random(name)
    return (1..<Self.stopSteps).shuffled(using: &random).prefix(count).sorted()
  }

  @Test(.timeLimit(.minutes(2)), arguments: Synchronisation.allCases)
  func stoppedRunsGoOnWithOtherRanks(synchronisation: Synchronisation) throws {
    let tiny = try TinyRun()
    let whole = try wholeRun(tiny)
    for round in 0..<2 {
      let name = "cut-\(synchronisation)-\(round)"
      let stops = moments(2, name)
      try expectSameEnd(
        tiny, name, as: whole,
        [
          Part(ranks: 8, settings: ["lanes=dynamic"], stop: stops[0]), Part(ranks: 3, stop: stops[1]),
          Part(ranks: 8),
        ],
        ["synchronisation=\(synchronisation)"])
    }
  }

  /// What a rank keeps is no part of a run: it may change at any stop.
  @Test(.timeLimit(.minutes(2))) func stoppedRunsGoOnWithOtherSynchronisation() throws {
    let tiny = try TinyRun()
    let stops = moments(3, "switch")
    let (sharded, replicated) = (["synchronisation=sharded"], ["synchronisation=replicated"])
    try expectSameEnd(
      tiny, "switch", as: try wholeRun(tiny),
      [
        Part(ranks: 3, settings: sharded, stop: stops[0]),
        Part(ranks: 3, settings: replicated, stop: stops[1]),
        Part(ranks: 5, settings: sharded, stop: stops[2]), Part(ranks: 2, settings: replicated),
      ])
  }

  /// With the last samples of an epoch done and none of the next.
  @Test(.timeLimit(.minutes(2))) func stoppedExactlyAtAnEpochsEnd() throws {
    let tiny = try TinyRun()
    let epoch = try plan(tiny, ranks: 1, []).stepsPerEpoch
    #expect(epoch > 1 && 2 * epoch < Self.stopSteps)
    try expectSameEnd(
      tiny, "epoch", as: try wholeRun(tiny),
      [Part(ranks: 4, stop: epoch), Part(ranks: 3, stop: 2 * epoch), Part(ranks: 8)])
  }

  /// The rounding of backward products is drawn from what the run is, not from who does it.
  @Test(.timeLimit(.minutes(2))) func stoppedRunsWithRoundedProductsGoOn() throws {
    let tiny = try TinyRun()
    let more = ["training.backward_precision=int8", "gradient_format=int16"]
    let stops = moments(2, "rounded")
    let whole = try wholeRun(tiny, more)
    try expectSameEnd(
      tiny, "rounded", as: whole,
      [Part(ranks: 4, stop: stops[0]), Part(ranks: 1, stop: stops[1]), Part(ranks: 3)], more)
    let wide = try Program.pretrain(
      tiny.arguments("wide", Self.settings(["training.steps=\(Self.stopSteps)"])), ranks: 2)
    #expect(wide.code == 0, "\(wide.errors)")
    #expect(try tiny.weights("wide", step: Self.stopSteps) != whole.weights)
  }
}
