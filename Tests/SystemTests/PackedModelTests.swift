import Foundation
import Telemetry
import Testing

/// `bipft export`, `inspect`, `evaluate`, `fill-mask` and `embed` on a run, as a user would.
@Suite struct PackedModelTests {
  private func pipe(_ input: String, _ command: String, _ model: String) throws -> Program.Outcome {
    try Program.bipft(command, model, input: Data(input.utf8))
  }

  /// A run that keeps its best checkpoint gives that one, unless it is told otherwise.
  @Test func theBestCheckpointIsPacked() throws {
    let tiny = try TinyRun()
    let run = tiny.scratch.path("r")
    let trained = try Program.pretrain(
      tiny.arguments("r", ["--set", "checkpoint.keep_best=true", "--set", "checkpoint.every=24"]))
    try #require(trained.code == 0, "\(trained.errors)")
    let evaluations = try MetricsFile.records(path: run + "/metrics.jsonl")
      .filter { $0.kind == .eval && $0.step > 0 }
    let scores = evaluations.map { $0.metrics[0].value }
    let best = evaluations[scores.firstIndex(of: scores.max()!)!].step
    let model = tiny.scratch.path("tiny.bipft")
    for (choice, step) in [([], best), (["--last"], 24)] {
      let export = try Program.bipft(["export", run, "--output", model] + choice)
      #expect(export.code == 0 && export.output.contains("(step \(step))"), "\(export)")
    }
    let list = try Program.bipft(["checkpoint", "list", run])
    #expect(list.output.contains("best evaluation: step \(best)\n"), "\(list)")
  }

  @Test func fromRunToAnswers() throws {
    let tiny = try TinyRun()
    let run = tiny.scratch.path("r")
    let trained = try Program.pretrain(tiny.arguments("r", ["--set", "training.steps=8"]))
    try #require(trained.code == 0, "\(trained.errors)")
    let model = tiny.scratch.path("tiny.bipft")
    let export = try Program.bipft(["export", run, "--output", model])
    #expect(export.code == 0 && export.output.contains("(step 8)"), "\(export.errors)")
    let size = try tiny.scratch.bytes("tiny.bipft").count
    #expect(export.output.contains("file                 \(size) bytes"), "\(export.output)")

    let inspect = try Program.bipft(["inspect", model, "--tokens", "16"])
    #expect(inspect.code == 0 && inspect.output.contains("; file \(size)\n"), "\(inspect.output)")
    #expect(inspect.output.contains("bert.encoder.layer.1.output.dense.weight  bits [24,40]  192 bytes"))
    // 2 · 16 · 2 layers · (4 · 24² + 2 · 24 · 40), and 4 · 16² · 24 · 2.
    #expect(inspect.output.contains("binary 319488 (linear 270336, attention 49152)"), "\(inspect.output)")

    let filled = try pipe("The old king [MASK] the river.\n\n[MASK]", "fill-mask --top 2", model)
    #expect(filled.code == 0, "\(filled.errors)")
    let lines = filled.output.split(separator: "\n")
    #expect(lines.count == 3 && lines[1] == #"{"line": 2, "masks": []}"#, "\(filled.output)")
    let first = try JSONDecoder().decode(Filled.self, from: Data(lines[0].utf8))
    #expect(first.masks.map(\.position) == [4] && first.masks[0].guesses.count == 2)

    let embedded = try pipe("The old king.\nA horse\n", "embed", model)
    let vectors = try embedded.output.split(separator: "\n").map {
      try JSONDecoder().decode(Embedded.self, from: Data($0.utf8)).embedding
    }
    #expect(vectors.map(\.count) == [24, 24])
    for vector in vectors { #expect(abs(vector.reduce(0) { $0 + $1 * $1 } - 1) < 1e-5) }

    // The same numbers as a file for NumPy: a header of 128 bytes, then the rows.
    let file = tiny.scratch.path("vectors.npy")
    let written = try pipe("The old king.\nA horse\n", "embed --output \(file)", model)
    #expect(written.code == 0 && written.output == "", "\(written.errors)")
    let bytes = try tiny.scratch.bytes("vectors.npy")
    #expect(String(decoding: bytes[..<128], as: UTF8.self).contains("'shape': (2, 24)"))
    let numbers = bytes[128...].withUnsafeBytes { data in
      (0..<48).map { data.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
    }
    #expect(numbers == vectors.flatMap { $0 })

    let against = try Program.bipft(["inspect", model, "--tokens", "16", "--against", "bert-base"])
    // 319,488 / 64 + 2 · 2 layers · (16 · 24 · 5 + 2 · 16²); 2 · 16 · 84,934,656 + 4 · 16² · 768 · 12.
    #expect(against.output.contains("319488 / 64 + 9728 = 0.0 million"), "\(against.output)")
    #expect(against.output.contains("bert-base: 2727.3 million float"), "\(against.output)")
    #expect(against.output.contains("437928960 of weights, this file \(size)"), "\(against.output)")
  }

  /// `bipft evaluate` gives what the run recorded: the same numbers of a file with float32, nearly the same else.
  @Test func heldOutLossAsTrained() throws {
    let tiny = try TinyRun()
    let trained = try Program.pretrain(tiny.arguments("r", ["--set", "training.steps=12"]))
    try #require(trained.code == 0, "\(trained.errors)")
    let record = try #require(
      MetricsFile.records(path: tiny.scratch.path("r/metrics.jsonl")).last { $0.kind == .eval })
    let recorded = Dictionary(
      uniqueKeysWithValues: (record.losses + record.metrics).map { ($0.key, $0.value) })
    let loss = try #require(recorded["mlm_loss"])
    let (run, corpus) = (tiny.scratch.path("r"), tiny.scratch.path("corpus"))
    func evaluate(_ more: [String]) throws -> [String: Double] {
      let model = tiny.scratch.path("\(more.joined()).bipft")
      let export = try Program.bipft(["export", run, "--output", model] + more)
      try #require(export.code == 0, "\(export.errors)")
      let found = try Program.bipft(["evaluate", model, corpus, "--threads", "2"])
      try #require(found.code == 0, "\(found.errors)")
      return try JSONDecoder().decode([String: Double].self, from: Data(found.output.utf8))
    }
    let exact = try evaluate(["--reals", "float32"])
    for key in ["mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy"] {
      let value = try #require(recorded[key])
      #expect(exact[key].map { Float($0) } == value, "\(key): \(exact), \(value) when trained")
    }
    #expect(exact["sequences"] == 9 && exact["masked_tokens"]! > 9)
    let rounded = try #require(evaluate([])["mlm_loss"])
    #expect(abs(rounded - Double(loss)) < 1e-3 && rounded != Double(loss), "\(rounded), \(loss)")

    let model = tiny.scratch.path("--realsfloat32.bipft")
    let fewer = try Program.bipft(["evaluate", model, corpus, "--sequences", "2"])
    #expect(fewer.output.contains("\"sequences\": 2,"), "\(fewer.output)\(fewer.errors)")
    let none = tiny.scratch.path("none.bipft")
    #expect(try Program.bipft(["export", run, "--output", none, "--head", "none"]).code == 0)
    let headless = try Program.bipft(["evaluate", none, corpus])
    #expect(headless.code == 78 && headless.errors.contains("--head mlm"), "\(headless.errors)")
    let both = try Program.bipft(["evaluate", model])
    #expect(both.code == 64, "\(both.errors)")
  }

  /// Activations of several bits: evaluated as trained, told by `inspect`, answering, and refused where there is no room for them.
  @Test(arguments: [(2, "relu"), (4, "gelu")]) func activationsOfSeveralBits(bits: Int, activation: String)
    throws
  {
    let tiny = try TinyRun()
    let settings = [
      "training.steps=12", "model.activation_bits=\(bits)", "model.ffn_activation=\(activation)",
    ].flatMap { ["--set", $0] }
    let trained = try Program.pretrain(tiny.arguments("r", settings))
    try #require(trained.code == 0, "\(trained.errors)")
    let record = try #require(
      MetricsFile.records(path: tiny.scratch.path("r/metrics.jsonl")).last { $0.kind == .eval })
    let (run, model) = (tiny.scratch.path("r"), tiny.scratch.path("r.bipft"))
    let export = try Program.bipft(["export", run, "--output", model, "--reals", "float32"])
    #expect(export.code == 0, "\(export.errors)")
    let evaluated = try Program.bipft(["evaluate", model, tiny.scratch.path("corpus")])
    let found = try JSONDecoder().decode([String: Double].self, from: Data(evaluated.output.utf8))
    for (key, value) in (record.losses + record.metrics).map({ ($0.key, $0.value) })
    where ["mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy"].contains(key) {
      #expect(found[key].map { Float($0) } == value, "\(key): \(found), \(value) when trained")
    }
    let inspect = try Program.bipft(["inspect", model, "--tokens", "16"])
    #expect(
      inspect.output.contains("activations of \(bits) bits, feed-forward \(activation)\n"), "\(inspect)")
    let (linear, attention) = (270_336 * bits, 49_152 * bits * bits)
    #expect(inspect.output.contains("(linear \(linear), attention \(attention))"), "\(inspect)")
    let filled = try pipe("The old king [MASK] the river.", "fill-mask --top 2", model)
    #expect(filled.code == 0, "\(filled.errors)")

    let refused = try Program.bipft([
      "export", run, "--format", "huggingface", "--output", tiny.scratch.path("hf"),
    ])
    #expect(
      refused.code == 78
        && refused.errors.contains("has model.activation_bits \(bits) and model.ffn_activation \(activation)"),
      "\(refused.errors)")
    #expect(refused.errors.split(separator: "\n").count == 1)
  }

  /// The folder for Hugging Face: names and bytes of the checkpoint's weights, and what says how to read them.
  /// (scripts/test-huggingface.sh loads one with transformers.)
  @Test func huggingFace() throws {
    let tiny = try TinyRun()
    let trained = try Program.pretrain(tiny.arguments("r", ["--set", "training.steps=8"]))
    try #require(trained.code == 0, "\(trained.errors)")
    let (run, folder) = (tiny.scratch.path("r"), tiny.scratch.path("hf"))
    let arguments = ["export", run, "--format", "huggingface", "--output", folder]
    let export = try Program.bipft(arguments)
    #expect(export.code == 0 && export.output.contains("transformers.BertForPreTraining"), "\(export)")
    #expect(try tiny.scratch.bytes("hf/model.safetensors") == tiny.weights("r", step: 8))
    #expect(try tiny.scratch.bytes("hf/vocab.txt") == tiny.scratch.bytes("vocab.txt"))
    let text = try JSONSerialization.jsonObject(with: tiny.scratch.bytes("hf/config.json"))
    let values = try #require(text as? [String: Any])
    let sizes = ["hidden_size": 24, "num_hidden_layers": 2, "vocab_size": 31, "max_position_embeddings": 32]
    for (key, size) in sizes { #expect(values[key] as? Int == size, "\(key)") }
    let again = try Program.bipft(arguments)
    #expect(again.code == 78 && again.errors.contains("holds something"), "\(again.errors)")
    #expect(try Program.bipft(arguments + ["--head", "none"]).code == 64)
  }

  /// Lines that are pairs, too long, empty, not UTF-8; each error names its line.
  @Test func lines() throws {
    let tiny = try TinyRun()
    let trained = try Program.pretrain(tiny.arguments("r", ["--set", "training.steps=8"]))
    try #require(trained.code == 0, "\(trained.errors)")
    let model = tiny.scratch.path("tiny.bipft")
    #expect(try Program.bipft(["export", tiny.scratch.path("r"), "--output", model]).code == 0)
    // [CLS] a [SEP] [MASK] [SEP]; the answer is another than that to one text with a tab in it.
    let pair = try pipe("king\t[MASK]\r\n", "fill-mask --pairs", model)
    #expect(pair.output.contains("\"position\": 3,"), "\(pair)")
    let single = try pipe("king\t[MASK]\n", "fill-mask", model)
    #expect(single.output.contains("\"position\": 2,"), "\(single)")
    for text in ["king\n", "a\tb\tc\n"] {
      let wrong = try pipe("a\tb\n" + text, "embed --pairs", model)
      #expect(wrong.code == 78 && wrong.output.split(separator: "\n").count == 1)
      #expect(wrong.errors.contains("standard input, line 2: ") && wrong.errors.contains("one tab"))
    }
    let long = String(repeating: "king ", count: 70)
    let cut = try pipe("\n" + long + "\n" + long + "\thorse", "embed --truncate --pairs", model)
    #expect(cut.code == 78 && cut.errors.contains("line 1: 1 text, wanted two"), "\(cut.errors)")
    let answers = try pipe("\n\(long)\n", "embed --truncate", model).output.split(separator: "\n")
    #expect(answers.count == 2 && !answers[0].contains("cut") && answers[1].hasSuffix("\"cut\": 40}"))
    let bytes = Data("a\n".utf8) + Data([0x61, 0xFF, 0x0A])
    let invalid = try Program.bipft("embed", model, input: bytes)
    #expect(
      invalid.code == 78 && invalid.errors.contains("line 2: byte 2 of the line is not UTF-8"),
      "\(invalid.errors)")
    // Nothing is left of a file whose input is wrong.
    let file = tiny.scratch.path("vectors.npy")
    #expect(try Program.bipft("embed --output \(file)", model, input: bytes).code == 78)
    let left = try FileManager.default.contentsOfDirectory(atPath: tiny.scratch.folder)
    #expect(!left.contains { $0.contains("npy") }, "\(left)")
  }

  private struct Filled: Decodable {
    struct Mask: Decodable {
      struct Guess: Decodable { let token: String }
      let position: Int
      let guesses: [Guess]
    }
    let masks: [Mask]
  }

  private struct Embedded: Decodable { let embedding: [Float] }

  @Test func whatCannotBe() throws {
    let tiny = try TinyRun()
    let trained = try Program.pretrain(tiny.arguments("r", ["--set", "training.steps=8"]))
    try #require(trained.code == 0, "\(trained.errors)")
    let (run, model) = (tiny.scratch.path("r"), tiny.scratch.path("tiny.bipft"))

    try tiny.scratch.write("other.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")
    let other = try Program.bipft(
      ["export", run, "--output", model, "--vocab", tiny.scratch.path("other.txt")])
    #expect(other.code == 78 && other.errors.contains("is not the vocabulary"), "\(other.errors)")
    try FileManager.default.moveItem(
      atPath: tiny.scratch.path("corpus"), toPath: tiny.scratch.path("moved"))
    let moved = try Program.bipft(["export", run, "--output", model])
    #expect(moved.code == 78 && moved.errors.contains("--vocab"), "\(moved.errors)")
    #expect(!FileManager.default.fileExists(atPath: model))
    let given = try Program.bipft([
      "export", run, "--output", model, "--head", "none", "--vocab", tiny.scratch.path("vocab.txt"),
    ])
    #expect(given.code == 0, "\(given.errors)")
    let masks = try pipe("a [MASK]\n", "fill-mask", model)
    #expect(masks.code == 78 && masks.output == "" && masks.errors.contains("--head mlm"), "\(masks.errors)")
    let long = try pipe("a\n" + String(repeating: "a ", count: 40) + "\n", "embed", model)
    #expect(long.code == 78 && long.output.split(separator: "\n").count == 1)
    #expect(
      long.errors
        == "bipft: standard input, line 2: 42 tokens, the model takes 1 to 32 ([CLS] and [SEP] included)\n")
    let text = try Program.bipft(["inspect", tiny.scratch.path("vocab.txt")])
    #expect(text.code == 78 && text.errors.hasPrefix("bipft: \(tiny.scratch.path("vocab.txt")): "))
  }
}
