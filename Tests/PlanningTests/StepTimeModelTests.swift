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
    tokens: 1000, updates: 1e9, roundings: 5e8, additions: 2e9, copies: 8e9, arrangements: 1e10)
  private let unlimited = Link(bytesPerSecond: .infinity, latency: 0)

  private func hosts(_ ranks: Int, perHost: Int = 1) -> HostLayout {
    HostLayout(ranks: ranks, perHost: perHost)
  }

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
    // What the sums take as it is made: matrices and the word embedding.
    let made = binary + Double(30_522 * (try layout)["bert.embeddings.word_embeddings.weight"].shape[1])
    let time = model.time(hosts: hosts(1), link: unlimited, synchronisation: .sharded, format: .int32)
    #expect(time.exchange == 0)
    #expect(abs(time.compute - 8 * (1024 / 1000 + (elements - made) / 5e8)) < 1e-4)
    #expect(abs(time.update - (elements / 1e9 + binary / 1e10)) < 1e-3)
    #expect(model.efficiency(time, ranks: 1, format: .int32) == 1)
    let threads = try self.model(threads: 4).time(
      hosts: hosts(1), link: unlimited, synchronisation: .sharded, format: .int32)
    #expect(abs(threads.total - time.total / 4) < 1e-9)
  }

  /// Two hosts of a rank each send and receive at once, so the time of their bytes is that of the one that sends most.
  @Test(arguments: Synchronisation.allCases)
  func twoHostsTakeAsLongAsTheirBytes(_ synchronisation: Synchronisation) throws {
    let plan = try RunPlan(
      configuration(["synchronisation=\(synchronisation)"]), vocabularySize: 30_522, trainingSamples: 1000,
      hosts: hosts(2))
    let link = Link(bytesPerSecond: 1e6, latency: 0)
    let time = try model().time(hosts: hosts(2), link: link, synchronisation: synchronisation, format: .int32)
    let least = Double(plan.mostSent) / 1e6
    #expect(abs(time.exchange / least - 1) < 0.05, "\(time.exchange) s for \(plan.mostSent) bytes")
  }

  @Test func lessIsSentInLessTime() throws {
    let model = try model(lanes: 16)
    let link = Link(bytesPerSecond: 1e8, latency: 1e-5)
    for ranks in [2, 4] {
      let times = [
        (Synchronisation.replicated, GradientFormat.int32), (.sharded, .int32), (.sharded, .int16),
      ]
      .map { model.time(hosts: hosts(ranks), link: link, synchronisation: $0, format: $1) }
      #expect(times[0].exchange > times[1].exchange && times[1].exchange > times[2].exchange)
      #expect(times[0].update > times[1].update)
      #expect(times[0].compute == times[1].compute && times[1].compute < times[2].compute)
      let efficiency = zip(times, [GradientFormat.int32, .int32, .int16]).map {
        model.efficiency($0, ranks: ranks, format: $1)
      }
      #expect(efficiency[0] < efficiency[1] && efficiency[1] < efficiency[2] && efficiency[2] < 1)
    }
  }

  /// What leaves a host is its sum, so the link of a host is as long at work whatever its ranks.
  @Test func ranksOfAHostShareTheSum() throws {
    let model = try model(lanes: 64)
    let link = Link(bytesPerSecond: 1e7, latency: 0)
    func exchange(_ ranks: Int, perHost: Int) -> Double {
      model.time(
        hosts: hosts(ranks, perHost: perHost), link: link, synchronisation: .sharded, format: .int32
      ).exchange
    }
    #expect(abs(exchange(32, perHost: 8) / exchange(4, perHost: 1) - 1) < 0.1)
    #expect(exchange(32, perHost: 32) < 0.05 * exchange(4, perHost: 1))
  }

  @Test func latencyCountsOnceARound() throws {
    let slow = Link(bytesPerSecond: .infinity, latency: 1)
    let model = try model()
    func exchange(_ ranks: Int, perHost: Int) -> Double {
      model.time(
        hosts: hosts(ranks, perHost: perHost), link: slow, synchronisation: .sharded, format: .int32
      ).exchange
    }
    // A reduce-scatter of each of 106 buckets and three gathers of W − 1 steps, and small operations of log W each way.
    let buckets = Double((try layout.elementCount + (1 << 20) - 1) >> 20)
    #expect(abs(exchange(2, perHost: 1) - (buckets + 3 + 14)) < 1)
    #expect(abs(exchange(8, perHost: 1) - (7 * (buckets + 3) + 3 * 14)) < 1)
    #expect(exchange(8, perHost: 8) < 1)
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
      measured.tokens, measured.updates, measured.additions, measured.roundings, measured.copies,
      measured.arrangements,
    ] {
      #expect(rate > 0 && rate.isFinite)
    }
    let given = CoreMeasurement(small, vocabularySize: 100, tokensPerSecond: 123)
    #expect(given.speed.tokens == 123)
  }
}
