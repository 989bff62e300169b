import BinaryModel
import Collectives
import Foundation
import Parameters
import Planning
import RunSettings
import Testing

private let demoConfiguration = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
  .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("configs/demo.yaml").path

@Suite struct StepTimeModelTests {
  private let core = CoreSpeed(
    tokens: 1000, updates: 1e9, additions: 2e9, roundings: 1e12, arrangements: 1e10)
  private let unlimited = Link(bytesPerSecond: .infinity, latency: 0)

  /// BERT-base with lanes of 8 sequences of 128 tokens.
  private func configuration(lanes: Int = 8, _ more: [String] = []) throws -> RunConfiguration {
    try RunConfiguration.load(
      file: demoConfiguration,
      overrides: [
        "model.hidden_size=768", "model.layers=12", "model.heads=12", "model.intermediate_size=3072",
        "model.maximum_length=512", "data.sequence_length=128", "training.micro_batch=8",
        "training.global_batch=\(8 * lanes)",
      ] + more)
  }

  private func model(lanes: Int = 8, core: CoreSpeed? = nil, threads: Int = 1) throws -> StepTimeModel {
    StepTimeModel(
      try configuration(lanes: lanes), vocabularySize: 30_522, core: core ?? self.core, threads: threads)
  }

  private var layout: ParameterLayout {
    get throws {
      ModelLayout(try configuration().modelConfiguration(vocabularySize: 30_522), Pretraining()).parameters
    }
  }

  @Test func aRankAloneComputesAndUpdates() throws {
    let model = try model()
    let elements = Double(try layout.elementCount)
    let binary = Double(
      try layout.parameters.filter { $0.kind == .binaryMatrix }.reduce(0) { $0 + $1.count })
    let time = model.time(ranks: 1, link: unlimited, synchronisation: .sharded, format: .float32)
    #expect(time.exchange == 0)
    #expect(abs(time.compute - (8 * 1024 / 1000 + 7 * elements / 2e9)) < 1e-9)
    #expect(abs(time.update - (elements / 1e9 + binary / 1e10)) < 1e-3)
    #expect(model.efficiency(time, ranks: 1) == 1)
    let threads = try self.model(threads: 4).time(
      ranks: 1, link: unlimited, synchronisation: .sharded, format: .float32)
    #expect(abs(threads.total - time.total / 4) < 1e-9)
  }

  /// Two ranks send and receive at once, so the time of their bytes is that of the one that sends most.
  @Test(arguments: [Synchronisation.sharded, .replicated])
  func twoRanksTakeAsLongAsTheirBytes(_ synchronisation: Synchronisation) throws {
    let plan = try RunPlan(
      configuration(["synchronisation=\(synchronisation)"]), vocabularySize: 30_522, trainingSamples: 1000,
      ranks: 2)
    let link = Link(bytesPerSecond: 1e6, latency: 0)
    let time = try model().time(ranks: 2, link: link, synchronisation: synchronisation, format: .float32)
    let least = Double(plan.mostSent) / 1e6
    #expect(time.exchange >= least)
    #expect(time.exchange < 1.15 * least, "\(time.exchange) s for \(plan.mostSent) bytes")
  }

  @Test func lessIsSentInLessTime() throws {
    let model = try model(lanes: 16)
    let link = Link(bytesPerSecond: 1e8, latency: 1e-5)
    for ranks in [2, 4] {
      let times = [
        (Synchronisation.replicated, WireFormat.float32), (.sharded, .float32), (.sharded, .bfloat16),
      ]
      .map { model.time(ranks: ranks, link: link, synchronisation: $0, format: $1) }
      #expect(times[0].exchange > times[1].exchange && times[1].exchange > times[2].exchange)
      #expect(times[0].update > times[1].update)
      #expect(times[0].compute == times[1].compute && times[1].compute < times[2].compute)
      #expect(abs(times[1].compute / (16 / Double(ranks) * 1024 / 1000) - 1) < 0.1)
      let efficiency = times.map { model.efficiency($0, ranks: ranks) }
      #expect(efficiency[0] < efficiency[1] && efficiency[1] < efficiency[2] && efficiency[2] < 1)
    }
  }

  @Test func latencyCountsOnceARound() throws {
    let slow = Link(bytesPerSecond: .infinity, latency: 1)
    let model = try model()
    // Whatever its bytes: around the ring, and a few rounds more.
    let small = model.time(ranks: 2, link: slow, synchronisation: .sharded, format: .float32).exchange
    let large = model.time(ranks: 8, link: slow, synchronisation: .sharded, format: .float32).exchange
    // Seven rings of 1 and of 7 steps.
    #expect(small >= 7 && large >= 7 * 7)
  }

  @Test func aLargePartHoldsUpTheRing() {
    let link = Link(bytesPerSecond: 100, latency: 0.5)
    // Three steps each.
    #expect(link.secondsAroundRing([100, 100, 100, 100]) == 3 * 1.5)
    #expect(link.secondsAroundRing([400, 0, 0, 0]) == 3 * 4.5)
    #expect(link.secondsAroundRing([7]) == 0)
  }

  @Test func theCoreIsMeasured() throws {
    let small = try RunConfiguration.load(
      file: demoConfiguration,
      overrides: [
        "model.hidden_size=64", "model.layers=3", "model.heads=2", "model.intermediate_size=96",
        "model.maximum_length=16", "data.sequence_length=16", "training.global_batch=8",
        "training.micro_batch=2",
      ])
    let measured = CoreMeasurement(small, vocabularySize: 100).speed
    for rate in [
      measured.tokens, measured.updates, measured.additions, measured.roundings, measured.arrangements,
    ] {
      #expect(rate > 0 && rate.isFinite)
    }
    let given = CoreMeasurement(small, vocabularySize: 100, tokensPerSecond: 123)
    #expect(given.speed.tokens == 123)
  }
}
