import BinaryModel
import Collectives
import Foundation
import Planning
import RunSettings
import Testing

private let demoConfiguration = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
  .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("configs/demo.yaml").path

private func run(_ overrides: [String] = []) throws -> RunConfiguration {
  try RunConfiguration.load(
    file: demoConfiguration,
    overrides: [
      "model.hidden_size=4", "model.layers=1", "model.heads=2", "model.intermediate_size=8",
      "model.maximum_length=8",
      "data.sequence_length=8", "model.estimator_rank=1", "training.steps=100",
    ] + overrides)
}

private func planned(ranks: Int, samples: Int = 1000) throws -> RunPlan {
  try RunPlan(run(), vocabularySize: 10, trainingSamples: samples, ranks: ranks)
}

@Suite struct RunPlanTests {
  @Test func countsParameters() throws {
    let plan = try planned(ranks: 1)
    // Embedding 10×4, four attention matrices and the pooler 4×4, two of 4×8.
    #expect(plan.binaryParameters == 40 + 5 * 16 + 2 * 32)
    let layout = ModelLayout(try run().modelConfiguration(vocabularySize: 10), Pretraining()).parameters
    #expect(plan.binaryParameters + plan.realParameters == layout.parameterCount)
    // A scale for each of 10 rows and 7 matrices.
    #expect(plan.packedModelBytes == 184 / 8 + 4 * (plan.realParameters + 17))
  }

  @Test func sharesLanes() throws {
    #expect(try planned(ranks: 1).lanesPerRank == 8...8)
    #expect(try planned(ranks: 3).lanesPerRank == 2...3)
    #expect(try planned(ranks: 8).lanesPerRank == 1...1)
    #expect(try planned(ranks: 5).lanes == 8)
  }

  @Test func countsMemory() throws {
    let layout = ModelLayout(try run().modelConfiguration(vocabularySize: 10), Pretraining()).parameters
    let buffer = 4 * layout.elementCount
    for ranks in [1, 2, 3, 4, 5, 8] {
      // Less than a chunk: one rank owns all of it.
      for memory in [try planned(ranks: ranks).memory, try planned(ranks: ranks).replicatedMemory] {
        #expect(memory.weights == buffer && memory.moments == 2 * buffer)
        // The sum of everything, and float32 of what is neither a binary matrix nor the word embedding.
        #expect(memory.gradients == 8 * layout.parameterCount - 4 * (5 * 16 + 2 * 32 + 10 * 4))
        #expect(memory.activations > 0 && memory.packed > 0 && memory.teacher == 0)
        #expect(memory.state == 3 * buffer + memory.packed)
        let passing = memory.gradients + memory.exchange + memory.checkpoint + memory.activations
        #expect(memory.checkpoint == 3 * buffer && memory.checkpointCopy == 3 * buffer)
        #expect(memory.total == memory.state + passing)
      }
    }
    let distilled = try RunPlan(
      run(["teacher=bert.safetensors"]), vocabularySize: 10, trainingSamples: 1, ranks: 1)
    // In bfloat16 five matrices of 4×4 and two of 4×8; in float32 20 rows of embeddings and the vectors.
    #expect(distilled.memory.teacher == 2 * (5 * 16 + 2 * 32) + 4 * (20 * 4 + 9 * 4 + 8 + 5 * 4))
  }

  /// BERT-base with two ranks: state below 60 % of the replicated one, bytes below 65 % and 40 % of an all-reduce.
  @Test func shardedStateAndTrafficAreSmall() throws {
    let base = [
      "model.hidden_size=768", "model.layers=12", "model.heads=12", "model.intermediate_size=3072",
      "model.maximum_length=512", "data.sequence_length=128",
    ]
    func plan(_ more: [String] = [], ranks: Int = 2) throws -> RunPlan {
      let configuration = try RunConfiguration.load(file: demoConfiguration, overrides: base + more)
      return try RunPlan(configuration, vocabularySize: 30_522, trainingSamples: 1000, ranks: ranks)
    }
    let sharded = try plan()
    #expect(Double(sharded.memory.state) < 0.6 * Double(sharded.replicatedMemory.state))
    #expect(sharded.memory.total < sharded.replicatedMemory.total)
    // All ranks together, and each.
    #expect(sharded.memory.checkpoint == 4 << 20)
    // A rank's half, as even as chunks allow.
    #expect(abs(Double(sharded.memory.checkpointCopy) / (6 * 110_215_000) - 1) < 0.05)
    #expect(Double(sharded.traffic.total) < 0.65 * Double(sharded.allReduceBytes))
    #expect(Double(sharded.mostSent) < 0.65 * Double(sharded.allReduceBytes) / 2)
    let narrow = try plan(["gradient_format=int16"])
    #expect(Double(narrow.traffic.total) < 0.45 * Double(narrow.allReduceBytes))
    #expect(Double(narrow.mostSent) < 0.45 * Double(narrow.allReduceBytes) / 2)
    // All but the embeddings in half the bytes.
    let share = Double(narrow.traffic.gradients) / Double(sharded.traffic.gradients)
    #expect(abs(share - (0.5 + 0.5 * 24 / 110)) < 0.01, "\(share)")
    let replicated = try plan(["synchronisation=replicated"])
    #expect(replicated.memory == sharded.replicatedMemory)
    #expect(replicated.memory == replicated.replicatedMemory)
    #expect(abs(Double(replicated.traffic.gradients) / Double(replicated.allReduceBytes) - 1) < 1e-4)
    #expect(replicated.traffic.signs == 0 && replicated.traffic.values == 0)
    // No rank sends much more than another.
    for ranks in [2, 3, 4, 5, 8] {
      let plan = try plan(ranks: ranks)
      let even = Double(plan.traffic.total) / Double(ranks)
      let isEven = plan.lanesPerRank.lowerBound == plan.lanesPerRank.upperBound
      if isEven { #expect(Double(plan.mostSent) < 1.02 * even, "\(ranks) ranks") }
    }
    // More ranks, less of the state.
    #expect(try plan(ranks: 8).memory.state < sharded.memory.state / 2)
  }

  @Test func countsStepsAndTokens() throws {
    let plan = try planned(ranks: 1, samples: 1000)
    #expect(plan.stepsPerEpoch == 31 && plan.tailSamples == 8)
    #expect(abs(plan.epochs - 100.0 / 31) < 1e-12)
    #expect(plan.tokensPerStep == 32 * 8)
    let short = try planned(ranks: 1, samples: 31)
    #expect(short.stepsPerEpoch == 0 && short.epochs == 0 && short.tailSamples == 31)
  }

  @Test func aRankAloneSendsNothing() throws {
    let alone = try planned(ranks: 1)
    #expect(alone.traffic.total == 0 && alone.mostSent == 0 && alone.allReduceBytes == 0)
  }

  /// One chunk has one owner, the last rank, to which the others send all; across hosts each host's sum goes once.
  @Test func countsGradientBytes() throws {
    let layout = ModelLayout(try run().modelConfiguration(vocabularySize: 10), Pretraining()).parameters
    let bytes = 4 * layout.parameterCount
    for ranks in [2, 3, 4, 8] {
      #expect(try planned(ranks: ranks).traffic.gradients == (ranks - 1) * bytes)
      let narrow = try RunPlan(
        run(["gradient_format=int16"]), vocabularySize: 10, trainingSamples: 1000, ranks: ranks)
      #expect(narrow.traffic.gradients == (ranks - 1) * (bytes - 2 * (5 * 16 + 2 * 32)))
    }
    let hosts = HostLayout(ranks: 8, perHost: 4)
    let plan = try RunPlan(run(), vocabularySize: 10, trainingSamples: 1000, hosts: hosts)
    #expect(plan.traffic.gradients == (2 * 3 + 1) * bytes)
  }

  @Test(arguments: [0, 9, 100])
  func refusesRanksThatDoNotFit(_ ranks: Int) throws {
    let run = try run()
    let error = #expect(throws: PlanningError.self) {
      try RunPlan(run, vocabularySize: 10, trainingSamples: 1000, ranks: ranks)
    }
    #expect(
      error?.description
        == "\(ranks) ranks do not fit 8 lanes (training.global_batch 32 / training.micro_batch 4): "
        + "use 1 to 8 ranks")
  }

  @Test func refusesTwoRanksForOneLane() throws {
    let run = try run(["training.global_batch=4"])
    let error = #expect(throws: PlanningError.self) { try RunPlan.checkWorldSize(2, run) }
    #expect(
      error?.description
        == "2 ranks do not fit 1 lane (training.global_batch 4 / training.micro_batch 4): use 1 rank")
  }

  @Test func textIsATable() throws {
    let text = try planned(ranks: 3).text
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    #expect(lines.contains { $0.hasPrefix("lanes a rank") && $0.contains(" 2 to 3") })
    #expect(lines.contains { $0.hasPrefix("tokens a step") && $0.contains(" 256  padding included") })
    #expect(lines.contains { $0.hasPrefix("tokens  ") && $0.contains(" 25,600") })
    #expect(lines.contains { $0.hasPrefix("steps an epoch") && $0.contains(" 31  8 samples left over") })
    #expect(lines.contains { $0.hasPrefix("memory a rank") && $0.contains(" KiB") })
    #expect(lines.contains { $0.hasPrefix("  these three") && $0.contains(" % of ") })
    #expect(lines.contains { $0.hasPrefix("sent a step") && $0.contains(" % of an all-reduce in float32") })
    #expect(!text.contains("teacher"))
  }
}

extension RunPlan {
  /// The plan of the pretraining that `configuration` defines, over a corpus with `vocabularySize` tokens.
  init(
    _ configuration: RunConfiguration, vocabularySize: Int, trainingSamples: Int, hosts: HostLayout
  ) throws(PlanningError) {
    let model = configuration.modelConfiguration(vocabularySize: vocabularySize)
    try self.init(
      configuration, ModelLayout(model, Pretraining()), trainingSamples: trainingSamples, hosts: hosts)
  }

  /// The same of ranks that share a host.
  init(
    _ configuration: RunConfiguration, vocabularySize: Int, trainingSamples: Int, ranks: Int
  ) throws(PlanningError) {
    try Self.checkWorldSize(ranks, configuration)
    try self.init(
      configuration, vocabularySize: vocabularySize, trainingSamples: trainingSamples,
      hosts: HostLayout(ranks: ranks, perHost: ranks))
  }
}
