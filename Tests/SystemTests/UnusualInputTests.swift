import BinaryModel
import Foundation
import TensorFiles
import Testing

/// Input that is accepted but unusual must train, and weights that cannot serve must be refused, never end in a crash.
@Suite(.serialized) struct UnusualInputTests {
  /// Text of which the vocabulary knows no word has no token to predict: the step trains on sentence pairs alone.
  @Test func textThatTheVocabularyDoesNotKnow() throws {
    let tiny = try TinyRun()
    let scratch = tiny.scratch
    let word = "\u{1230}\u{120B}\u{121D}"
    let document = Array(repeating: Array(repeating: word, count: 8).joined(separator: " "), count: 8)
    let documents = Array(repeating: document.joined(separator: "\n"), count: 40)
    try scratch.write("unknown.txt", documents.joined(separator: "\n\n") + "\n")
    let built = try Program.bipft([
      "corpus", "build", "--input", scratch.path("unknown.txt"), "--vocab", scratch.path("vocab.txt"),
      "--output", scratch.path("unknown"), "--held-out", "0.2",
    ])
    try #require(built.code == 0, "\(built.errors)")
    for precision in ["float32", "int8"] {
      let outcome = try Program.pretrain(
        tiny.arguments(
          precision,
          [
            "--set", "data.corpus=\(scratch.path("unknown"))", "--set", "training.steps=3",
            "--set", "training.backward_precision=\(precision)",
          ]), ranks: 2)
      #expect(outcome.code == 0, "\(outcome.errors)")
      let lines = try scratch.text(precision + "/metrics.jsonl").split(separator: "\n")
      let steps = lines.filter { $0.contains("\"train\"") }
      #expect(steps.count == 3)
      for line in lines {
        #expect(line.contains("\"mlm_loss\": 0,") || line.contains("\"mlm_loss\": 0.0,"), "\(line)")
      }
      #expect(!steps.contains { $0.contains("skipped") || $0.contains("\"nsp_loss\": 0,") })
    }
  }

  /// A file with all tensors of `TinyRun`'s model, as a teacher of full precision, changed by `change`, given as `key`.
  private func start(
    _ tiny: TinyRun, _ key: String, ranks: Int?, vocabulary: Int = 31,
    _ change: (Tensor) -> Tensor? = { $0 }
  ) throws -> Program.Outcome {
    let configuration = ModelConfiguration(
      vocabularySize: vocabulary, hiddenSize: 24, layers: 2, heads: 3, intermediateSize: 40,
      maximumLength: 32, estimatorRank: 0, dropout: 0, precision: key == "teacher" ? .full : .binary)
    let layout = ModelLayout(configuration, Pretraining()).parameters
    let tensors: [Tensor] = layout.parameters.compactMap { parameter in
      change(
        Tensor(
          name: parameter.name, shape: parameter.shape,
          floats: (0..<parameter.count).map { Float($0 % 7) / 50 - 0.06 }))
    }
    let file = tiny.scratch.path("\(UUID().uuidString).safetensors")
    try writeSafetensors(path: file, tensors: tensors)
    return try Program.pretrain(
      tiny.arguments(UUID().uuidString, ["--set", "\(key)=\(file)", "--set", "training.steps=1"]),
      ranks: ranks)
  }

  @Test(arguments: ["initial_weights", "teacher"]) func weightsThatCannotServe(key: String) throws {
    let tiny = try TinyRun()
    let dense = "bert.encoder.layer.1.output.dense.weight"
    func expectRefusal(_ outcome: Program.Outcome, _ words: [String]) {
      #expect(outcome.code == 78, "\(outcome.errors)")
      let own = outcome.errors.split(separator: "\n").filter { $0.contains(".safetensors: ") }
      #expect(own.count == 1 && words.allSatisfy { own[0].contains($0) }, "\(outcome.errors)")
    }
    expectRefusal(
      try Program.pretrain(tiny.arguments("nowhere", ["--set", "\(key)=nowhere.safetensors"])),
      key == "teacher"
        ? ["nowhere.safetensors: cannot be read on ", " (key teacher); give a safetensors file"]
        : ["nowhere.safetensors: No such file or directory; initial_weights and teacher name safetensors"])
    expectRefusal(
      try start(tiny, key, ranks: 2) { $0.name == dense ? nil : $0 },
      ["no tensor ", dense.replacing("bert.", with: "")])
    expectRefusal(
      try start(tiny, key, ranks: nil) { tensor in
        guard tensor.name == dense else { return tensor }
        var floats = [Float](repeating: 0.1, count: 24 * 40)
        floats[41] = .nan
        return Tensor(name: dense, shape: tensor.shape, floats: floats)
      }, [dense, "1 of 960 elements, the first at [1, 1] (nan)"])
    let padded = try start(tiny, key, ranks: 2, vocabulary: 40)
    #expect(padded.code == 0, "\(padded.errors)")
    #expect(padded.errors.contains("the first 31 of its 40 word embeddings"), "\(padded.errors)")
    expectRefusal(try start(tiny, key, ranks: 2, vocabulary: 30), ["has 30 rows", "31 tokens"])
  }

  @Test func whatStaysAtItsDefaultIsSaid() throws {
    let tiny = try TinyRun()
    let outcome = try start(tiny, "initial_weights", ranks: nil) {
      $0.name.hasPrefix("cls.") || $0.name.contains("clip") || $0.name.contains("move") ? nil : $0
    }
    #expect(outcome.code == 0, "\(outcome.errors)")
    let said = outcome.errors.split(separator: "\n").first { $0.contains("weights from ") } ?? ""
    #expect(
      said.contains(
        "at their defaults: 34 shifts and step sizes of the binarisers, 20 of the residual estimators, cls.predictions.bias"
      ),
      "\(outcome.errors)")
  }
}
