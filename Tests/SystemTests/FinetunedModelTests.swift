import Foundation
import Telemetry
import Testing

/// A fine-tuned model packed: `bipft classify` and `bipft evaluate` say what the run said.
@Suite struct FinetunedModelTests {
  /// A tiny pretrained run in `base`.
  private let tiny: TinyRun

  init() throws {
    tiny = try TinyRun()
    let base = try Program.pretrain(tiny.arguments("base", ["--set", "training.steps=8"]))
    try #require(base.code == 0, "\(base.errors)")
  }

  private func finetune(_ more: [String]) throws {
    let run = try Program.bipft(
      [
        "finetune", "--from", tiny.scratch.path("base"), "--epochs", "2", "--batch", "8", "--learning-rate",
        "2e-3", "--length", "16", "--set", "threads=1", "--output", tiny.scratch.path("run"),
      ] + more)
    try #require(run.code == 0, "\(run.errors)")
  }

  private func write(_ file: String, _ rows: [String]) throws {
    let folder = (tiny.scratch.path(file) as NSString).deletingLastPathComponent
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try tiny.scratch.write(file, rows.joined(separator: "\n") + "\n")
  }

  /// Packs the run's best checkpoint; the file, and the metrics of the evaluation of that step.
  private func export(_ more: [String]) throws -> (model: String, recorded: [StepRecord.Named]) {
    let model = tiny.scratch.path("\(more.joined()).bipft")
    let export = try Program.bipft(["export", tiny.scratch.path("run"), "--output", model] + more)
    try #require(export.code == 0, "\(export.errors)")
    #expect(export.output.contains("head classifier"), "\(export.output)")
    let records = try MetricsFile.records(path: tiny.scratch.path("run/metrics.jsonl"))
    let record = records.last { $0.kind == .eval && export.output.contains("(step \($0.step))") }
    return (model, try #require(record).metrics)
  }

  private func evaluate(_ model: String, _ more: [String]) throws -> [String: Double?] {
    let found = try Program.bipft(["evaluate", model] + more)
    try #require(found.code == 0, "\(found.errors)")
    return try JSONDecoder().decode([String: Double?].self, from: Data(found.output.utf8))
  }

  private struct Answer: Decodable {
    struct Score: Decodable {
      let label: String
      let probability: Float
    }
    let line: Int
    let label: String?
    let probability: Float?
    let classes: [Score]?
    let number: Float?
    let cut: Int?
  }

  private func classify(_ model: String, _ input: String) throws -> [Answer] {
    let found = try Program.bipft("classify", model, input: Data(input.utf8))
    try #require(found.code == 0, "\(found.errors)")
    return try found.output.split(separator: "\n").map {
      try JSONDecoder().decode(Answer.self, from: Data($0.utf8))
    }
  }

  @Test(.timeLimit(.minutes(2)), arguments: ["first", "mean"]) func classesOfTexts(pooling: String) throws {
    let texts = ["the king saw", "a horse walked to the river", "the queen said nothing", "the old road"]
    let labels = ["\"royal\"", "plain", "\"royal\"", "plain"]
    let rows = (0..<24).map { "\(texts[$0 % 4])\t\(labels[$0 % 4])" }
    try write("kinds/train.tsv", ["text\tlabel"] + rows)
    try write("kinds/dev.tsv", ["text\tlabel"] + rows.prefix(9))
    try write("kinds/test.tsv", ["text"] + texts + ["", texts.joined(separator: " ")])
    try finetune(
      [
        "--data", tiny.scratch.path("kinds"), "--text", "text", "--pooling", pooling, "--predict",
        tiny.scratch.path("kinds/test.tsv"),
      ])
    let (model, recorded) = try export(["--reals", "float32"])
    let values = try evaluate(model, ["--data", tiny.scratch.path("kinds")])
    #expect(recorded.count == 3 && values["rows"] == 9)
    for metric in recorded {
      #expect(try #require(values[metric.key]).map { Float($0) } == metric.value, "\(metric.key)")
    }
    let inspect = try Program.bipft(["inspect", model])
    #expect(inspect.output.contains(#"head: classifier ("\"royal\"", "plain")"#), "\(inspect.output)")

    // The same classes as the run's own predictions, in its order; what is too long is cut as there.
    let answers = try classify(model, (texts + ["", texts.joined(separator: " ")]).joined(separator: "\n"))
    let predicted = try tiny.scratch.text("run/predictions/test.tsv").split(separator: "\n").dropFirst()
    #expect(
      answers.map { "\($0.line - 1)\t\($0.label ?? "")" } == predicted.map(String.init), "\(predicted)")
    #expect(answers.map(\.cut) == [nil, nil, nil, nil, nil, 2])
    for answer in answers {
      #expect(answer.classes?.map(\.label) == ["\"royal\"", "plain"] && answer.number == nil)
      #expect(abs(try #require(answer.classes).reduce(0) { $0 + $1.probability } - 1) < 1e-5)
      #expect(answer.probability == answer.classes?.map(\.probability).max())
    }

    // Transformers' BERT has a classifier on its pooled output alone.
    let folder = try Program.bipft(
      ["export", tiny.scratch.path("run"), "--format", "huggingface", "--output", model + "-hf"])
    #expect(folder.code == (pooling == "first" ? 0 : 78), "\(folder)")
    #expect(pooling == "first" || folder.errors.contains("task.pooling"), "\(folder)")

    // Without its run's folder a checkpoint does not know what its classes are called; without a head it need not.
    let checkpoint = tiny.scratch.path("run/checkpoints/step-00000006")
    #expect(try Program.bipft(["export", checkpoint, "--output", model]).code == 0)
    try FileManager.default.moveItem(atPath: checkpoint, toPath: tiny.scratch.path("moved"))
    let moved = try Program.bipft(["export", tiny.scratch.path("moved"), "--output", model])
    #expect(moved.code == 78 && moved.errors.contains("task.json"), "\(moved.errors)")
    let none = try Program.bipft(
      ["export", tiny.scratch.path("moved"), "--output", model, "--head", "none"])
    #expect(none.code == 0, "\(none.errors)")
    let words = try Program.bipft(["export", tiny.scratch.path("moved"), "--output", model, "--head", "mlm"])
    #expect(
      words.code == 78 && words.errors.contains("has no head mlm; use --head classifier or none"),
      "\(words.errors)")
    let masks = try Program.bipft("classify", model, input: Data("a\n".utf8))
    #expect(masks.code == 78 && masks.errors.contains("no head \"classifier\""), "\(masks.errors)")
  }

  /// STS-B: numbers of pairs; and how alike two texts are, of a model that was not trained for it.
  @Test(.timeLimit(.minutes(2))) func numbersOfPairs() throws {
    let texts = ["the king saw", "a horse walked to the river", "the queen said nothing", "the old road"]
    let rows = (0..<24).map { "\(texts[$0 % 4])\t\(texts[$0 * $0 % 3])\t\(Float($0 % 5))" }
    try write("glue/STS-B/train.tsv", ["sentence1\tsentence2\tscore"] + rows)
    try write("glue/STS-B/dev.tsv", ["sentence1\tsentence2\tscore"] + rows.prefix(11))
    let data = ["--data", tiny.scratch.path("glue")]
    try finetune(data + ["--task", "stsb"])
    let (model, recorded) = try export(["--reals", "float32"])
    let values = try evaluate(model, data)
    #expect(recorded.map(\.key) == ["pearson", "spearman"])
    for metric in recorded {
      #expect(try #require(values[metric.key]).map { Float($0) } == metric.value, "\(metric.key)")
    }
    let answers = try classify(model, "the king saw\ta horse\n\tnothing\n")
    #expect(answers.map(\.line) == [1, 2] && answers.allSatisfy { $0.number != nil && $0.label == nil })
    let single = try Program.bipft("classify", model, input: Data("the king\n".utf8))
    #expect(single.code == 78 && single.errors.contains("line 1: 1 text, wanted two"), "\(single.errors)")
    let other = try Program.bipft(["evaluate", model, "--task", "rte"] + data)
    #expect(other.code == 78 && other.errors.contains("was trained for the task stsb, not rte"))

    // Cosines of the vectors that `embed` gives, with the numbers of people.
    let encoder = tiny.scratch.path("encoder.bipft")
    let exported = try Program.bipft(
      ["export", tiny.scratch.path("base"), "--output", encoder, "--head", "none"])
    try #require(exported.code == 0, "\(exported.errors)")
    let zeroShot = try evaluate(encoder, data + ["--task", "stsb"])
    struct Vector: Decodable { let embedding: [Double] }
    func vectors(_ place: Int) throws -> [[Double]] {
      let lines = rows.prefix(11).map { String($0.split(separator: "\t")[place]) }.joined(separator: "\n")
      return try Program.bipft("embed", encoder, input: Data(lines.utf8)).output.split(separator: "\n")
        .map { try JSONDecoder().decode(Vector.self, from: Data($0.utf8)).embedding }
    }
    let cosines = try zip(vectors(0), vectors(1)).map { a, b in zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }
    let expected = correlation(cosines, (0..<11).map { Double($0 % 5) })
    #expect(abs(try #require(zeroShot["pearson"] ?? nil) - expected) < 1e-5, "\(zeroShot), \(expected)")
    #expect(zeroShot["spearman"] != nil && zeroShot["rows"] == 11)
    let without = try Program.bipft(["evaluate", encoder] + data)
    #expect(without.code == 78 && without.errors.contains("--task"), "\(without.errors)")
    let classes = try Program.bipft(["evaluate", encoder, "--task", "sst2"] + data)
    #expect(classes.code == 78 && classes.errors.contains("--task stsb"), "\(classes.errors)")
  }

  private func correlation(_ x: [Double], _ y: [Double]) -> Double {
    let (a, b) = (x.reduce(0, +) / Double(x.count), y.reduce(0, +) / Double(y.count))
    let products = zip(x, y).map { ($0 - a) * ($1 - b) }.reduce(0, +)
    let squares = x.reduce(0) { $0 + ($1 - a) * ($1 - a) } * y.reduce(0) { $0 + ($1 - b) * ($1 - b) }
    return products / squares.squareRoot()
  }
}
