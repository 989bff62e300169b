import Foundation
import Telemetry
import Testing

/// `bipft export`, `inspect`, `fill-mask` and `embed` on a run, as a user would.
@Suite struct PackedModelTests {
  private func pipe(_ input: String, _ command: String, _ model: String) throws -> Program.Outcome {
    let scratch = try Scratch()
    try scratch.write("input", input)
    let program = Program.folder.appendingPathComponent("bipft").path
    return try Program.run(
      "/bin/sh", ["-c", "\"$0\" \(command) \"$1\" < \"$2\"", program, model, scratch.path("input")])
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
