import Coordinator
import Foundation
import Telemetry
import TensorFiles
import Testing

/// Whole runs of `bipft-pretrain`, under mpirun.
@Suite(.serialized) struct PretrainingTests {
  @Test func everyNumberOfRanksAndThreadsGivesTheSameBits() throws {
    let tiny = try TinyRun()
    let alone = try Program.pretrain(tiny.arguments("alone"))
    #expect(alone.code == 0, "\(alone.errors)")
    let metrics = try tiny.metrics("alone")
    #expect(metrics.count == 24 + 5)
    let weights = try tiny.weights("alone", step: 24)
    for (ranks, threads) in [(1, 2), (2, 1), (2, 2), (3, 1), (4, 1), (5, 1), (8, 1)] {
      let name = "ranks-\(ranks)-threads-\(threads)"
      let result = try Program.pretrain(tiny.arguments(name, ["--set", "threads=\(threads)"]), ranks: ranks)
      #expect(result.code == 0, "\(name): \(result.errors)")
      #expect(try tiny.metrics(name) == metrics, "\(name)")
      #expect(try tiny.weights(name, step: 24) == weights, "\(name)")
    }
  }

  @Test func resumedRunsGoOnBitForBit() throws {
    let tiny = try TinyRun()
    let keepAll = ["--set", "checkpoint.keep=3"]
    #expect(try Program.pretrain(tiny.arguments("whole", keepAll), ranks: 2).code == 0)
    // A run whose last checkpoints are lost goes on from the one before, on another number of ranks.
    #expect(try Program.pretrain(tiny.arguments("cut", keepAll), ranks: 4).code == 0)
    let store = try CheckpointStore(run: tiny.scratch.path("cut"))
    #expect(try store.list().map(\.step) == [8, 16, 24])
    for item in try store.list().dropFirst() { try FileManager.default.removeItem(atPath: item.path) }
    let resumed = try Program.pretrain(tiny.arguments("cut", keepAll), ranks: 3)
    #expect(resumed.code == 0, "\(resumed.errors)")
    #expect(
      resumed.errors.contains("going on from \(store.path)/\(checkpointName(step: 8))"), "\(resumed.errors)")
    // It did steps 9 to 24 again, and no other.
    let starts = try RunHistory(run: tiny.scratch.path("cut")).events().filter { $0.event == .start }
    #expect(starts.map(\.step) == [0, 8] && starts.map(\.ranks) == [4, 3])
    #expect(starts.last?.reached == 24)
    let audit = try Program.bipft(["schedule", "--audit", tiny.scratch.path("cut")])
    #expect(audit.code == 0 && audit.output.contains("16 done again"), "\(audit.output)")
    #expect(try tiny.metrics("cut") == tiny.metrics("whole"))
    for step in [16, 24] {
      let name = "/checkpoints/" + checkpointName(step: step)
      for file in ["/model.safetensors", "/optimizer.safetensors"] {
        #expect(try tiny.scratch.bytes("cut" + name + file) == tiny.scratch.bytes("whole" + name + file))
      }
    }
    // A finished run is only reported.
    let finished = try Program.pretrain(tiny.arguments("whole", keepAll), ranks: 2)
    #expect(finished.code == 0 && finished.errors.contains("finished after step 24"), "\(finished.errors)")
    #expect(try tiny.metrics("whole") == tiny.metrics("cut"))
  }

  /// The first update of AdamW is the rate times the gradient's sign, nearly: of step sizes with a rate of their own.
  @Test func stepSizesHaveARateOfTheirOwn() throws {
    let tiny = try TinyRun()
    func weights(_ run: String, _ more: [String], steps: Int = 1, ranks: Int? = nil) throws -> [String:
      [Float]]
    {
      let settings =
        ["training.steps=\(steps)", "training.warmup_steps=0", "training.learning_rate=0.001"] + more
      let outcome = try Program.pretrain(
        tiny.arguments(run, settings.flatMap { ["--set", $0] }), ranks: ranks)
      try #require(outcome.code == 0, "\(outcome.errors)")
      let file = try SafetensorsFile(
        path: tiny.scratch.path("\(run)/checkpoints/step-0000000\(steps)/model.safetensors"))
      return Dictionary(
        uniqueKeysWithValues: try file.entries.map { ($0.name, try file.floats($0.name)) })
    }
    let start = try weights("start", [], steps: 0)
    let same = try weights("same", [])
    let double = try weights("double", ["training.step_size_learning_rate=0.002"])
    let none = try weights("none", ["training.step_size_learning_rate=0"])
    #expect(try weights("three", ["training.step_size_learning_rate=0.002"], ranks: 3) == double)
    var moved = 0
    for (name, first) in start {
      let (plain, twice, still) = (same[name]!, double[name]!, none[name]!)
      guard name.contains("clip_") || name.hasSuffix("input_clip_val") else {
        #expect(plain == twice && plain == still, "\(name)")
        continue
      }
      #expect(still == first, "\(name)")
      let (one, two) = (plain[0] - first[0], twice[0] - first[0])
      #expect(abs(two - 2 * one) < 1e-6, "\(name): \(one), \(two)")
      #expect(abs(one) < 0.00101, "\(name): \(one)")
      if one != 0 { moved += 1 }
    }
    #expect(moved > 8, "\(moved) step sizes moved")
  }

  @Test func aFullPrecisionModelStartsAndTeaches() throws {
    let tiny = try TinyRun()
    try TinyRun.writeBERT(to: tiny.scratch.path("bert.safetensors"))
    let path = tiny.scratch.path("bert.safetensors")
    let more = [
      "initial_weights=\(path)", "teacher=\(path)", "training.steps=4", "model.dropout=0",
    ].flatMap { ["--set", $0] }
    let one = try Program.pretrain(tiny.arguments("one", more))
    #expect(one.code == 0, "\(one.errors)")
    #expect(one.errors.contains("weights from \(path)"))
    let three = try Program.pretrain(tiny.arguments("three", more), ranks: 3)
    #expect(three.code == 0, "\(three.errors)")
    let metrics = try tiny.metrics("one")
    #expect(try tiny.metrics("three") == metrics)
    // Every record has every term, and its loss is their sum. The distance from the teacher is about that of the first batch.
    let records = try MetricsFile.records(path: tiny.scratch.path("one/metrics.jsonl"))
    let terms = ["mlm_loss", "nsp_loss", "hidden_loss", "nsp_distillation_loss"]
    for (line, record) in zip(metrics, records) {
      #expect(terms.allSatisfy { line.contains("\"\($0)\"") }, "\(line)")
      if record.kind == .eval {
        #expect(record.losses.map(\.key) == terms && record.losses.allSatisfy { $0.value > 0 })
        #expect(abs(record.losses.reduce(0) { $0 + $1.value } - record.loss) < 1e-5, "\(line)")
      }
    }
    func hidden(_ record: StepRecord?) -> Double? {
      if let loss = record?.losses.first(where: { $0.key == "hidden_loss" }) { return Double(loss.value) }
      guard case .number(let value)? = record?.extras.first(where: { $0.key == "hidden_loss" })?.value else {
        return nil
      }
      return value
    }
    let (held, trained) = (
      try #require(hidden(records.first { $0.kind == .eval })),
      try #require(hidden(records.first { $0.kind == .train }))
    )
    #expect(abs(held - trained) < 0.2 * held, "\(held) held out, \(trained) of the first batch")

    // The sum of L + 1 = 3 distances is three times their mean; other ranks, the same bits.
    for (run, ranks) in [("sum", nil), ("sum-4", 4)] {
      let outcome = try Program.pretrain(
        tiny.arguments(run, more + ["--set", "training.hidden_loss=sum"]), ranks: ranks)
      #expect(outcome.code == 0, "\(outcome.errors)")
    }
    #expect(try tiny.metrics("sum") == tiny.metrics("sum-4"))
    let sums = try MetricsFile.records(path: tiny.scratch.path("sum/metrics.jsonl"))
    let heldSum = try #require(hidden(sums.first { $0.kind == .eval }))
    #expect(abs(heldSum - 3 * held) < 1e-5 * heldSum, "\(heldSum), three times \(held)")

    // The wrong number of layers is refused.
    let wrong = try Program.pretrain(tiny.arguments("wrong", more + ["--set", "model.layers=3"]), ranks: 2)
    #expect(wrong.code == 78)
    #expect(wrong.errors.contains("has 2 layers, the configured model 3"), "\(wrong.errors)")
  }
}
