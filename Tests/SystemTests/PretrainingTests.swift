import Coordinator
import Foundation
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

  @Test func aFullPrecisionModelStartsAndTeaches() throws {
    let tiny = try TinyRun()
    try writeBERT(to: tiny.scratch.path("bert.safetensors"))
    let path = tiny.scratch.path("bert.safetensors")
    let more = ["--set", "initial_weights=\(path)", "--set", "teacher=\(path)", "--set", "training.steps=4"]
    let one = try Program.pretrain(tiny.arguments("one", more))
    #expect(one.code == 0, "\(one.errors)")
    #expect(one.errors.contains("weights from \(path)"))
    let three = try Program.pretrain(tiny.arguments("three", more), ranks: 3)
    #expect(three.code == 0, "\(three.errors)")
    let metrics = try tiny.metrics("one")
    #expect(try tiny.metrics("three") == metrics)
    #expect(metrics.contains { $0.contains("\"hidden_loss\"") && $0.contains("\"nsp_distillation_loss\"") })

    // The wrong number of layers is refused.
    let wrong = try Program.pretrain(tiny.arguments("wrong", more + ["--set", "model.layers=3"]), ranks: 2)
    #expect(wrong.code == 78)
    #expect(wrong.errors.contains("has 2 layers, the configured model 3"), "\(wrong.errors)")
  }

  /// A random BERT of the tiny shape with Hugging Face names, without the `bert.` prefix.
  private func writeBERT(to path: String) throws {
    var state: UInt32 = 99
    func tensor(_ name: String, _ shape: [Int], around centre: Float = 0) -> Tensor {
      let values = (0..<shape.reduce(1, *)).map { _ -> Float in
        state = state &* 1_664_525 &+ 1_013_904_223
        return centre + (Float(state >> 8) / Float(1 << 24) - 0.5) * 0.1
      }
      return Tensor(name: name, shape: shape, floats: values)
    }
    var tensors = [
      tensor("embeddings.word_embeddings.weight", [31, 24]),
      tensor("embeddings.position_embeddings.weight", [64, 24]),
      tensor("embeddings.token_type_embeddings.weight", [2, 24]),
    ]
    func linear(_ name: String, _ outputs: Int, _ inputs: Int) {
      tensors += [tensor(name + ".weight", [outputs, inputs]), tensor(name + ".bias", [outputs])]
    }
    func normalisation(_ name: String) {
      tensors += [tensor(name + ".gamma", [24], around: 1), tensor(name + ".beta", [24])]
    }
    normalisation("embeddings.LayerNorm")
    for layer in 0..<2 {
      let block = "encoder.layer.\(layer)."
      for projection in ["query", "key", "value"] { linear(block + "attention.self." + projection, 24, 24) }
      linear(block + "attention.output.dense", 24, 24)
      normalisation(block + "attention.output.LayerNorm")
      linear(block + "intermediate.dense", 40, 24)
      linear(block + "output.dense", 24, 40)
      normalisation(block + "output.LayerNorm")
    }
    linear("pooler.dense", 24, 24)
    linear("cls.seq_relationship", 2, 24)
    try writeSafetensors(path: path, tensors: tensors)
  }
}
