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
    #expect(try Program.pretrain(tiny.arguments("whole"), ranks: 2).code == 0)
    // A run whose last checkpoints are lost goes on from the one before, on another number of ranks.
    #expect(try Program.pretrain(tiny.arguments("cut"), ranks: 4).code == 0)
    for step in ["00000016", "00000024"] {
      let folder = tiny.scratch.path("cut/checkpoints/step-" + step)
      if FileManager.default.fileExists(atPath: folder) { try FileManager.default.removeItem(atPath: folder) }
    }
    let left = try FileManager.default.contentsOfDirectory(atPath: tiny.scratch.path("cut/checkpoints"))
    if left.contains("step-00000008") {
      let resumed = try Program.pretrain(tiny.arguments("cut"), ranks: 3)
      #expect(resumed.code == 0 && resumed.errors.contains("going on from"), "\(resumed.errors)")
    } else {
      let again = try Program.pretrain(tiny.arguments("cut", ["--resume", "none"]), ranks: 3)
      #expect(again.code == 0, "\(again.errors)")
    }
    #expect(try tiny.metrics("cut") == tiny.metrics("whole"))
    #expect(try tiny.weights("cut", step: 24) == tiny.weights("whole", step: 24))
    // A finished run is only reported.
    let finished = try Program.pretrain(tiny.arguments("whole"), ranks: 2)
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
