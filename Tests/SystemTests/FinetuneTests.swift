import Foundation
import Telemetry
import TensorFiles
import Testing

/// `bipft finetune` as a user has it: a pretrained model, a table of one's own, a classifier with a dev score.
@Suite(.serialized) struct FinetuneTests {
  @Test(.timeLimit(.minutes(4))) func fromATableToAClassifier() throws {
    let scene = try FinetuneScene()
    let (scratch, steps) = (
      scene.tiny.scratch, FinetuneScene.rows / FinetuneScene.batch * FinetuneScene.epochs
    )
    let more = [
      "--predict", scratch.path("reviews/test.tsv"), "--probabilities", "--set", "checkpoint.keep=3",
    ]
    let alone = try Program.bipft(scene.arguments("alone", more))
    try #require(alone.code == 0, "\(alone.errors)")

    // The held-out rows are looked at before the first step and after each epoch.
    let evaluations = try scene.evaluations("alone")
    #expect(
      evaluations.map(\.step)
        == (0...FinetuneScene.epochs).map { $0 * FinetuneScene.rows / FinetuneScene.batch })
    #expect(evaluations.allSatisfy { $0.metrics.map(\.key) == ["accuracy", "macro_f1", "matthews"] })
    let last = try #require(evaluations.last?.metrics.first?.value)
    // 25 of 40 rows are royal.
    #expect(last > 0.9, "\(evaluations.map { $0.metrics[0].value })")
    #expect(alone.errors.contains("task own: 96 rows to train on, 40 held out, 2 classes (common, royal)"))
    #expect(alone.errors.contains("evaluation after step \(steps): loss"))
    let table = alone.output.split(separator: "\n").map { line in
      line.split(separator: " ").joined(separator: " ")
    }
    #expect(table.first == "own, held-out rows accuracy macro f1 matthews")
    #expect(table.dropFirst().first?.hasPrefix("always the same 0.6250 0.3846 0.0000") == true)
    #expect(table.contains { $0.hasPrefix("bag of tokens ") })
    #expect(table.contains { $0.hasPrefix("seed 1, last epoch ") && $0.hasSuffix(" step \(steps)") })
    // The first of the equally good.
    let accuracies = evaluations.dropFirst().map { $0.metrics[0].value }
    let best = evaluations.dropFirst().first { $0.metrics[0].value == accuracies.max() }!.step
    #expect(table.contains { $0.hasPrefix("seed 1, best epoch ") && $0.hasSuffix(" step \(best)") })
    let kept = scratch.path(
      "alone/checkpoints/step-\(String(repeating: "0", count: 8 - "\(best)".count))\(best)")
    #expect(alone.output.contains(", by \(kept): "))
    #expect(FileManager.default.fileExists(atPath: kept + "/model.safetensors"))
    let record = try scratch.text("alone/task.json")
    #expect(record.contains("\"common\",\n    \"royal\""))
    let model = try SafetensorsFile(
      path: scratch.path("alone/checkpoints/step-00000\(steps)/model.safetensors"))
    #expect(model.find("classifier.weight")?.shape == [2, 24])

    // What it says of other texts agrees with what they hold about as often as on the held-out rows.
    let lines = try scratch.text("alone/predictions/test.tsv").split(separator: "\n")
    #expect(lines.first == "index\tprediction\tcommon\troyal" && lines.count == 12)
    let right = zip(lines.dropFirst(), FinetuneScene.texts(11, seed: 3).enumerated()).count { line, text in
      line.hasPrefix("\(text.offset)\t\(text.element.label)\t")
    }
    for line in lines.dropFirst() {
      let fields = line.split(separator: "\t")
      let (common, royal) = (Double(fields[2])!, Double(fields[3])!)
      #expect(abs(common + royal - 1) < 2e-6 && (royal > common) == (fields[1] == "royal"), "\(line)")
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
    let scene = try FinetuneScene()
    let scratch = scene.tiny.scratch
    // The share of words that two texts have in common.
    let texts = FinetuneScene.texts(120, seed: 5).map(\.text)
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
    #expect(run.output.contains("always the same      undefined   undefined"), "\(run.output)")
    let predictions = try scratch.text("run/predictions/dev.tsv").split(separator: "\n").dropFirst()
    #expect(predictions.count == 29)
    #expect(predictions.allSatisfy { Float($0.split(separator: "\t")[1]) != nil })
  }

  @Test(.timeLimit(.minutes(2))) func whatIsWrongIsNamed() throws {
    let scene = try FinetuneScene()
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
    try fails(scene.arguments("a", ["--seeds", "0"]), code: 64, "--seeds 0: use 1 or more")
    try fails(scene.arguments("a", ["--probabilities"]), code: 64, "--probabilities needs --predict")
    try fails(["finetune", "--task", "rte", "--data", "x"], code: 64, "give --from RUN")
    try scratch.write("some.yaml", "task:\n  epoch: 3\n")
    try fails(
      scene.arguments("a", ["--config", scratch.path("some.yaml")]),
      "some.yaml:2: task.epoch: unknown key; did you mean task.epochs?")
    try scratch.write("none.yaml", "seed: 3\n")
    try fails(["finetune", "--config", scratch.path("none.yaml")], "task.name: missing")
    try scratch.write("whole.yaml", "task:\n  name: rte\n")
    try fails(["finetune", "--config", scratch.path("whole.yaml")], "--from: missing")
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
    let epochs = try Program.pretrain(
      scene.tiny.arguments(
        "b", ["--set", "objective=classification", "--set", "task.name=rte", "--set", "task.epochs=3"]))
    #expect(
      epochs.code == 78 && epochs.errors.contains("task.epochs: only bipft finetune"), "\(epochs.errors)")
  }
}
