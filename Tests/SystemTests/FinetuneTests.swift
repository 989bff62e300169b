import Foundation
import Telemetry
import TensorFiles
import Testing

/// `bipft finetune` as a user has it: a pretrained model, a table of one's own, a classifier with a dev score.
@Suite(.serialized) struct FinetuneTests {
  /// A tiny pretrained run in `base`, and tables whose classes some words tell.
  private struct Scene {
    let tiny: TinyRun
    static let rows = 96
    static let batch = 16
    static let epochs = 25

    init() throws {
      tiny = try TinyRun()
      let base = try Program.pretrain(tiny.arguments("base"))
      try #require(base.code == 0, "\(base.errors)")
      try FileManager.default.createDirectory(
        atPath: tiny.scratch.path("reviews"), withIntermediateDirectories: true)
      let train = Self.texts(Self.rows, seed: 1).map { "\"\($0.text)\",\($0.label)\n" }
      try tiny.scratch.write("reviews/train.csv", "review,kind\n" + train.joined())
      let dev = Self.texts(40, seed: 2).map { "{\"kind\": \"\($0.label)\", \"review\": \"\($0.text)\"}\n" }
      try tiny.scratch.write("reviews/dev.jsonl", dev.joined())
      let test = Self.texts(11, seed: 3).map { "\($0.text)\n" }
      try tiny.scratch.write("reviews/test.tsv", "review\n" + test.joined())
    }

    /// Texts of eight words, with a comma; half of those of royal ones are kings and queens.
    static func texts(_ count: Int, seed: UInt32) -> [(text: String, label: String)] {
      var state = seed &* 7919
      func next(_ bound: Int) -> Int {
        state = state &* 1_664_525 &+ 1_013_904_223
        return Int(state >> 16) % bound
      }
      let plain = ["river", "house", "old", "young", "saw", "night", "light", "dark", "road", "horse"]
      return (0..<count).map { index in
        var words = (0..<8).map { _ in plain[next(plain.count)] }
        let isRoyal = index % 8 < 5
        if isRoyal { words = words.map { next(2) == 0 ? $0 : ["king", "queen"][next(2)] } }
        words[3] += ","
        return (words.joined(separator: " "), isRoyal ? "royal" : "common")
      }
    }

    func arguments(_ run: String, _ more: [String] = []) -> [String] {
      [
        "finetune", "--from", tiny.scratch.path("base"), "--data", tiny.scratch.path("reviews"), "--text",
        "review", "--label", "kind", "--epochs", "\(Self.epochs)", "--batch", "\(Self.batch)",
        "--learning-rate", "1e-3", "--length", "16", "--set", "threads=1", "--output",
        tiny.scratch.path(run),
      ] + more
    }

    func evaluations(_ run: String) throws -> [StepRecord] {
      try MetricsFile.records(path: tiny.scratch.path(run) + "/metrics.jsonl").filter { $0.kind == .eval }
    }
  }

  @Test(.timeLimit(.minutes(4))) func fromATableToAClassifier() throws {
    let scene = try Scene()
    let (scratch, steps) = (scene.tiny.scratch, Scene.rows / Scene.batch * Scene.epochs)
    let more = ["--predict", scratch.path("reviews/test.tsv"), "--set", "checkpoint.keep=3"]
    let alone = try Program.bipft(scene.arguments("alone", more))
    try #require(alone.code == 0, "\(alone.errors)")

    // The held-out rows are looked at before the first step and after each epoch.
    let evaluations = try scene.evaluations("alone")
    #expect(evaluations.map(\.step) == (0...Scene.epochs).map { $0 * Scene.rows / Scene.batch })
    #expect(evaluations.allSatisfy { $0.metrics.map(\.key) == ["accuracy", "macro_f1", "matthews"] })
    let last = try #require(evaluations.last?.metrics.first?.value)
    // 25 of 40 rows are royal.
    #expect(last > 0.9, "\(evaluations.map { $0.metrics[0].value })")
    #expect(alone.errors.contains("task own: 96 rows to train on, 40 held out, 2 classes (common, royal)"))
    #expect(alone.errors.contains("evaluation after step \(steps): loss"))
    #expect(alone.output.contains("always the same   accuracy 0.6250"))
    #expect(alone.output.contains("bag of tokens     accuracy "))
    #expect(alone.output.contains("(step \(steps))"))
    let record = try scratch.text("alone/task.json")
    #expect(record.contains("\"common\",\n    \"royal\""))
    let model = try SafetensorsFile(
      path: scratch.path("alone/checkpoints/step-00000\(steps)/model.safetensors"))
    #expect(model.find("classifier.weight")?.shape == [2, 24])

    // What it says of other texts agrees with what they hold about as often as on the held-out rows.
    let lines = try scratch.text("alone/predictions/test.tsv").split(separator: "\n")
    #expect(lines.first == "index\tprediction" && lines.count == 12)
    let right = zip(lines.dropFirst(), Scene.texts(11, seed: 3).enumerated()).count { line, text in
      line == "\(text.offset)\t\(text.element.label)"
    }
    #expect(right >= 9, "\(lines)")

    // Two ranks do the same.
    let both = try Program.bipft(scene.arguments("both", more), ranks: 2)
    try #require(both.code == 0, "\(both.errors)")
    #expect(try scene.tiny.metrics("both") == scene.tiny.metrics("alone"))
    #expect(try scene.tiny.weights("both", step: steps) == scene.tiny.weights("alone", step: steps))
    #expect(
      try scratch.text("both/predictions/test.tsv") == scratch.text("alone/predictions/test.tsv"))

    // A run that lost its last epoch goes on from the one before to the same end.
    try FileManager.default.removeItem(atPath: scratch.path("both/checkpoints/step-00000\(steps)"))
    let resumed = try Program.bipft(scene.arguments("both", more))
    try #require(resumed.code == 0, "\(resumed.errors)")
    #expect(resumed.errors.contains("going on from"))
    #expect(try scene.tiny.metrics("both") == scene.tiny.metrics("alone"))
    #expect(try scene.tiny.weights("both", step: steps) == scene.tiny.weights("alone", step: steps))

    // The audit knows such runs; another rate is another run, unless that is allowed.
    let audit = try Program.bipft(["schedule", "--audit", scratch.path("both")])
    #expect(audit.code == 0 && audit.output.contains("exact: every step was done once"), "\(audit)")
    let other = try Program.bipft(scene.arguments("both", ["--learning-rate", "2e-3"]))
    #expect(other.code == 78 && other.errors.contains("training.learning_rate"), "\(other.errors)")
    let allowed = try Program.bipft(
      scene.arguments("both", ["--learning-rate", "2e-3", "--allow-change", "training.learning_rate"]))
    #expect(allowed.code == 0, "\(allowed.errors)")

    // A head of another size does not serve.
    try FileManager.default.createDirectory(atPath: scratch.path("three"), withIntermediateDirectories: true)
    for name in ["train", "dev"] {
      let rows = (0..<16).map { "the,\(["a", "b", "c"][$0 % 3])\n" }
      try scratch.write("three/\(name).csv", "review,kind\n" + rows.joined())
    }
    let larger = try Program.bipft(
      scene.arguments("more", ["--from", scratch.path("alone"), "--data", scratch.path("three")]))
    #expect(larger.code == 78 && larger.errors.contains("it is the head of another task"), "\(larger.errors)")
  }

  @Test(.timeLimit(.minutes(2))) func numbersOfPairs() throws {
    let scene = try Scene()
    let scratch = scene.tiny.scratch
    // The share of words that two texts have in common.
    let texts = Scene.texts(120, seed: 5).map(\.text)
    let rows = zip(texts, texts.dropFirst()).enumerated().map { index, pair in
      let second = index % 3 == 0 ? pair.0 : pair.1
      let (a, b) = (Set(pair.0.split(separator: " ")), Set(second.split(separator: " ")))
      return "\(pair.0)\t\(second)\t\(Double(a.intersection(b).count) / Double(a.union(b).count))\n"
    }
    try FileManager.default.createDirectory(atPath: scratch.path("pairs"), withIntermediateDirectories: true)
    try scratch.write("pairs/train.tsv", "a\tb\tscore\n" + rows.prefix(90).joined())
    try scratch.write("pairs/dev.tsv", "a\tb\tscore\n" + rows.dropFirst(90).joined())
    let run = try Program.bipft([
      "finetune", "--from", scratch.path("base"), "--data", scratch.path("pairs"), "--text", "a",
      "--second-text", "b", "--label", "score", "--number", "--epochs", "4", "--batch", "8",
      "--learning-rate", "2e-3", "--length", "20", "--set", "threads=1", "--output", scratch.path("run"),
      "--predict", scratch.path("pairs/dev.tsv"),
    ])
    try #require(run.code == 0, "\(run.errors)")
    let evaluations = try scene.evaluations("run")
    #expect(evaluations.last?.metrics.map(\.key) == ["pearson", "spearman"])
    #expect(evaluations.last!.loss < evaluations.first!.loss)
    // Two texts of eight words and a comma do not fit in 20 tokens.
    #expect(run.errors.contains("rows are longer than 20 tokens"))
    #expect(run.output.contains("always the same   pearson undefined, spearman undefined"))
    let predictions = try scratch.text("run/predictions/dev.tsv").split(separator: "\n").dropFirst()
    #expect(predictions.count == 29)
    #expect(predictions.allSatisfy { Float($0.split(separator: "\t")[1]) != nil })
  }

  @Test(.timeLimit(.minutes(2))) func whatIsWrongIsNamed() throws {
    let scene = try Scene()
    let scratch = scene.tiny.scratch
    try scratch.write("reviews/bad.csv", "text\n1\n")
    func fails(_ arguments: [String], code: Int32 = 78, _ words: String) throws {
      let result = try Program.bipft(arguments)
      #expect(result.code == code && result.errors.contains(words), "\(result.code): \(result.errors)")
    }
    try fails(scene.arguments("a", ["--label", "sort"]), "train.csv:1: no column \"sort\"")
    try fails(
      scene.arguments("a", ["--vocab", Program.package.path + "/configs/vocab/vocab.txt"]),
      "another vocabulary than that of the checkpoint")
    try fails(scene.arguments("a", ["--from", scratch.path("nothing")]), "there is no such folder")
    try fails(
      scene.arguments("a", ["--from", scratch.path("vocab.txt")]), "it is a file; give the folder of a run")
    try fails(scene.arguments("a", ["--predict", scratch.path("none.csv")]), "none.csv: cannot be read")
    try fails(
      scene.arguments("a", ["--predict", scratch.path("reviews/bad.csv")]), "bad.csv:1: no column \"review\"")
    try fails(scene.arguments("a", ["--batch", "97"]), "96 samples, fewer than training.global_batch = 97")
    try fails(scene.arguments("a", ["--length", "600"]), "600 is more than model.maximum_length 32")
    try fails(scene.arguments("a", ["--task", "sst2"]), code: 64, "leave --text")
    try fails(
      ["finetune", "--from", scratch.path("base"), "--data", scratch.path("reviews"), "--task", "sst3"],
      "there is no task sst3")
    try scratch.write("reviews/dev.jsonl", "{\"review\": \"old\", \"kind\": \"Royal\"}\n")
    try fails(
      scene.arguments("a"),
      "dev.jsonl:1: the label \"Royal\" in column \"kind\" is none of the training file's (\"common\", \"royal\")"
    )
    // Nothing is left behind.
    #expect(!FileManager.default.fileExists(atPath: scratch.path("a")))
    // The other program needs to be told the task.
    let result = try Program.pretrain(
      scene.tiny.arguments("b", ["--set", "objective=classification"]))
    #expect(result.code == 78 && result.errors.contains("task.name: missing"), "\(result.errors)")
  }
}
