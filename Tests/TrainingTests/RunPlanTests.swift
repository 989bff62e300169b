import BinaryModel
import Foundation
import Testing
import Training

private func run(_ overrides: [String] = []) throws -> RunConfiguration {
  let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()
  return try RunConfiguration.load(
    file: repository.appendingPathComponent("configs/demo.yaml").path,
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
    let layout = ParameterLayout(try run().modelConfiguration(vocabularySize: 10))
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
    let layout = ParameterLayout(try run().modelConfiguration(vocabularySize: 10))
    let buffer = 4 * layout.elementCount
    for (ranks, levels) in [(1, 4), (2, 3), (3, 2), (4, 2), (5, 2), (8, 1)] {
      let memory = try planned(ranks: ranks).memory
      #expect(memory.parameters == buffer)
      #expect(memory.gradients == buffer * levels)
      #expect(memory.moments == 2 * buffer / ranks)
      #expect(memory.activations > 0 && memory.teacher == 0)
      #expect(memory.total == buffer + memory.gradients + memory.moments + memory.activations)
    }
    let distilled = try RunPlan(
      run(["teacher=bert.safetensors"]), vocabularySize: 10, trainingSamples: 1, ranks: 1)
    #expect(distilled.memory.teacher == buffer)
  }

  @Test func countsStepsAndTokens() throws {
    let plan = try planned(ranks: 1, samples: 1000)
    #expect(plan.stepsPerEpoch == 31 && plan.tailSamples == 8)
    #expect(abs(plan.epochs - 100.0 / 31) < 1e-12)
    #expect(plan.tokensPerStep == 32 * 8)
    let short = try planned(ranks: 1, samples: 31)
    #expect(short.stepsPerEpoch == 0 && short.epochs == 0 && short.tailSamples == 31)
  }

  /// A rank whose lanes are one subtree sends each slice once, any other once for each maximal subtree.
  @Test func countsBytesSent() throws {
    let alone = try planned(ranks: 1)
    #expect(alone.reduceScatterBytes == 0 && alone.allGatherBytes == 0)
    for (ranks, parts) in [(2, 1), (3, 2), (4, 1), (8, 1)] {
      let plan = try planned(ranks: ranks)
      #expect(plan.allGatherBytes == plan.memory.parameters / ranks * (ranks - 1))
      #expect(plan.reduceScatterBytes == parts * plan.allGatherBytes)
    }
  }

  @Test(arguments: [0, 9, 100])
  func refusesRanksThatDoNotFit(_ ranks: Int) throws {
    let run = try run()
    let error = #expect(throws: TrainingError.self) {
      try RunPlan(run, vocabularySize: 10, trainingSamples: 1000, ranks: ranks)
    }
    #expect(
      error?.description
        == "\(ranks) ranks do not fit 8 lanes (training.global_batch 32 / training.micro_batch 4): "
        + "use 1 to 8 ranks")
    #expect(error?.exitCode == .doNotRestart)
  }

  @Test func refusesTwoRanksForOneLane() throws {
    let run = try run(["training.global_batch=4"])
    let error = #expect(throws: TrainingError.self) { try RunPlan.checkWorldSize(2, run) }
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
    #expect(!text.contains("teacher"))
  }
}
