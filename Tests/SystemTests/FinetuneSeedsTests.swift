import DurableFiles
import Foundation
import Testing

/// `bipft finetune` with a configuration file, with several seeds, and the best epoch that it keeps.
@Suite(.serialized) struct FinetuneSeedsTests {
  /// The parts of a summary.json that are looked at.
  private struct Summary: Decodable, Equatable {
    struct Spread: Decodable, Equatable {
      let mean: Double?
      let deviation: Double?
    }
    struct Metric: Decodable, Equatable {
      let key: String
      let majority: Double?
      let bagOfTokens: Double?
      let last: Spread
      let best: Spread
    }
    struct Evaluation: Decodable, Equatable {
      let step: Int
      let values: [Double?]
    }
    struct Seed: Decodable, Equatable {
      let seed: Int
      let last: Evaluation
      let best: Evaluation
    }
    let metrics: [Metric]
    let seeds: [Seed]

    init(_ scene: FinetuneScene, _ folder: String) throws {
      self = try decodeJSON(
        Summary.self, Array(scene.tiny.scratch.bytes("\(folder)/summary.json")))
    }
  }

  private static let epochs = 4
  private static let stepsPerEpoch = FinetuneScene.rows / FinetuneScene.batch

  private func arguments(_ scene: FinetuneScene, _ folder: String, _ more: [String] = []) -> [String] {
    scene.arguments(folder, ["--epochs", "\(Self.epochs)"] + more)
  }

  /// The start as it is: what a comparison with another program begins from.
  @Test func aRunOfNoStepsIsJudgedAsItStarts() throws {
    let scene = try FinetuneScene()
    let start = try Program.bipft(arguments(scene, "start", ["--set", "training.steps=0"]))
    #expect(start.code == 0, "\(start.errors)")
    #expect(start.output.contains("seed 1, last epoch"), "\(start.output)")
    #expect(start.output.contains("step 0"), "\(start.output)")
  }

  @Test(.timeLimit(.minutes(4))) func seedsOneAfterTheOther() throws {
    let scene = try FinetuneScene()
    let scratch = scene.tiny.scratch
    let seeds = ["--seed", "5", "--seeds", "2"]
    let whole = try Program.bipft(arguments(scene, "whole", seeds))
    try #require(whole.code == 0, "\(whole.errors)")
    #expect(whole.errors.contains("seed 6, run 2 of 2, in \(scratch.path("whole"))/seed-6"))
    #expect(whole.output.contains("summary: \(scratch.path("whole"))/summary.json"))
    let summary = try Summary(scene, "whole")
    #expect(summary.seeds.map(\.seed) == [5, 6])
    #expect(summary.metrics.map(\.key) == ["accuracy", "macro_f1", "matthews"])
    #expect(summary.metrics[0].majority == 0.625)
    #expect(summary.seeds.allSatisfy { $0.last.step == Self.epochs * Self.stepsPerEpoch })
    for (index, metric) in summary.metrics.enumerated() {
      for (spread, values) in [
        (metric.last, summary.seeds.map { $0.last.values[index]! }),
        (metric.best, summary.seeds.map { $0.best.values[index]! }),
      ] {
        let mean = (values[0] + values[1]) / 2
        #expect(abs(spread.mean! - mean) < 1e-12)
        // Of two values the deviation of a sample is their difference / √2.
        #expect(abs(spread.deviation! - abs(values[0] - values[1]) / 2.0.squareRoot()) < 1e-12)
      }
    }
    // Each is the run that its seed makes alone.
    let alone = try Program.bipft(arguments(scene, "alone", ["--seed", "6"]))
    try #require(alone.code == 0, "\(alone.errors)")
    #expect(try scene.tiny.metrics("alone") == scene.tiny.metrics("whole/seed-6"))
    #expect(try scene.tiny.metrics("whole/seed-5") != scene.tiny.metrics("whole/seed-6"))

    // The first is there already, the second is killed; then the same again: on two ranks, to the same end.
    let first = try Program.bipft(arguments(scene, "killed", ["--seed", "5", "--seeds", "1"]))
    try #require(first.code == 0, "\(first.errors)")
    try FileManager.default.removeItem(atPath: scratch.path("killed/summary.json"))
    let killed = try Program.bipft(
      arguments(scene, "killed", seeds), environment: ["BIPFT_TEST_FAULTS": "kill:0:20"])
    #expect(killed.code == SIGKILL && killed.errors.contains("seed 6, run 2 of 2"), "\(killed)")
    #expect(!FileManager.default.fileExists(atPath: scratch.path("killed/summary.json")))
    let again = try Program.bipft(arguments(scene, "killed", seeds), ranks: 2)
    try #require(again.code == 0, "\(again.errors)")
    #expect(again.errors.contains("going on from \(scratch.path("killed"))/seed-6/checkpoints/step-"))
    for seed in ["seed-5", "seed-6"] {
      #expect(try scene.tiny.metrics("killed/\(seed)") == scene.tiny.metrics("whole/\(seed)"))
    }
    let other = try Summary(scene, "killed")
    #expect(other.metrics == summary.metrics && other.seeds == summary.seeds)
  }

  /// With a rate that changes nothing all epochs are equally good, so the first is the best, and patience ends.
  @Test(.timeLimit(.minutes(4))) func theBestEpochIsKeptAndPatienceEnds() throws {
    let scene = try FinetuneScene()
    let scratch = scene.tiny.scratch
    let more = ["--learning-rate", "1e-12", "--epochs", "9", "--patience", "3"]
    let steps = (1...4).map { $0 * Self.stepsPerEpoch }
    func checkpoints(_ run: String) throws -> [Int] {
      try FileManager.default.contentsOfDirectory(atPath: scratch.path("\(run)/checkpoints"))
        .filter { $0.hasPrefix("step-") }.map { Int($0.dropFirst(5))! }.sorted()
    }
    let alone = try Program.bipft(scene.arguments("alone", more))
    try #require(alone.code == 0, "\(alone.errors)")
    #expect(try scene.evaluations("alone").map(\.step) == [0] + steps)
    // The last two, and the best.
    #expect(try checkpoints("alone") == [steps[0], steps[2], steps[3]])
    let state = try scratch.text("alone/state.json")
    #expect(state.contains("\"finished\"") && state.contains("no better evaluation since step \(steps[0])"))
    #expect(alone.output.contains("step \(steps[0])\n"))

    // The same on two ranks, and where it was stopped on the way.
    let both = try Program.bipft(scene.arguments("both", more), ranks: 2)
    try #require(both.code == 0, "\(both.errors)")
    #expect(try scene.tiny.metrics("both") == scene.tiny.metrics("alone"))
    for step in [9, 18] {
      let part = try Program.bipft(
        scene.arguments("parts", more), environment: ["BIPFT_TEST_FAULTS": "stop:0:\(step)"])
      try #require(part.code == 75, "\(part.errors)")
    }
    let rest = try Program.bipft(scene.arguments("parts", more), ranks: 2)
    try #require(rest.code == 0 && rest.errors.contains("going on from"), "\(rest.errors)")
    #expect(try scene.tiny.metrics("parts") == scene.tiny.metrics("alone"))
    #expect(try checkpoints("parts").contains(steps[0]))

    // Another start changes nothing; more patience, if that is allowed, goes on from there.
    let again = try Program.bipft(scene.arguments("alone", more))
    #expect(again.code == 0)
    #expect(try scene.evaluations("alone").count == 5)
    let changed = ["--learning-rate", "1e-12", "--epochs", "9", "--patience", "4"]
    let refused = try Program.bipft(scene.arguments("alone", changed))
    #expect(refused.code == 78 && refused.errors.contains("evaluation.patience"), "\(refused.errors)")
    let allowed = try Program.bipft(
      scene.arguments("alone", changed + ["--allow-change", "evaluation.patience"]))
    #expect(allowed.code == 0, "\(allowed.errors)")
    #expect(try scene.evaluations("alone").count == 6)
    #expect(try checkpoints("alone") == [steps[0], steps[3], 5 * Self.stepsPerEpoch])

    // Pruning spares it too.
    let prune = try Program.bipft(["checkpoint", "prune", scratch.path("alone")])
    #expect(prune.code == 0 && prune.output.contains("nothing to remove"), "\(prune)")
    // What predicts is the best, or the last.
    let predict = ["--predict", scratch.path("reviews/test.tsv"), "--allow-change", "evaluation.patience"]
    for (choice, step) in [([], steps[0]), (["--last"], 5 * Self.stepsPerEpoch)] {
      let run = try Program.bipft(scene.arguments("alone", changed + predict + choice))
      let digits = String(repeating: "0", count: 8 - "\(step)".count) + "\(step)"
      #expect(
        run.code == 0 && run.output.contains("by \(scratch.path("alone"))/checkpoints/step-\(digits): "))
    }
    // Without the best one nothing is taken in its place.
    try FileManager.default.removeItem(
      atPath: scratch.path("alone/checkpoints/step-0000000\(steps[0])"))
    let missing = try Program.bipft(scene.arguments("alone", changed + predict))
    #expect(
      missing.code == 78 && missing.errors.contains("its best one, of step \(steps[0]), is not there"),
      "\(missing.errors)")
  }

  /// The files in configs/glue say what the name of the task alone says, for each task, and so do the plans.
  @Test(.timeLimit(.minutes(4))) func configurationFilesAreTheRecipe() throws {
    let scene = try FinetuneScene()
    let scratch = scene.tiny.scratch
    let tasks: [(name: String, folder: String, header: String, row: String, labels: [String])] = [
      ("cola", "CoLA", "", "x\tLABEL\t\tthe house\n", ["0", "1"]),
      ("sst2", "SST-2", "sentence\tlabel\n", "the house\tLABEL\n", ["0", "1"]),
      ("mrpc", "MRPC", "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n", "LABEL\t1\t2\ta\tb\n", ["0", "1"]),
      ("stsb", "STS-B", "sentence1\tsentence2\tscore\n", "a\tb\tLABEL\n", ["0.5", "5.0"]),
      (
        "qqp", "QQP", "id\tquestion1\tquestion2\tis_duplicate\n", "1\ta\tb\tLABEL\n",
        ["0", "1"]
      ),
      (
        "mnli", "MNLI", "sentence1\tsentence2\tgold_label\n", "a\tb\tLABEL\n",
        ["neutral", "entailment", "contradiction"]
      ),
      (
        "qnli", "QNLI", "index\tquestion\tsentence\tlabel\n", "1\ta\tb\tLABEL\n",
        ["entailment", "not_entailment"]
      ),
      (
        "rte", "RTE", "index\tsentence1\tsentence2\tlabel\n", "1\ta\tb\tLABEL\n",
        ["entailment", "not_entailment"]
      ),
      ("wnli", "WNLI", "index\tsentence1\tsentence2\tlabel\n", "1\ta\tb\tLABEL\n", ["0", "1"]),
    ]
    for task in tasks {
      try FileManager.default.createDirectory(
        atPath: scratch.path("glue/\(task.folder)"), withIntermediateDirectories: true)
      let rows = (0..<70).map { task.row.replacing("LABEL", with: task.labels[$0 % task.labels.count]) }
      for file in task.name == "mnli" ? ["train", "dev_matched", "dev_mismatched"] : ["train", "dev"] {
        try scratch.write("glue/\(task.folder)/\(file).tsv", task.header + rows.joined())
      }
      let common = [
        "--from", scratch.path("base"), "--data", scratch.path("glue"), "--length", "32", "--set",
        "threads=1", "--dry-run",
      ]
      let byName = try Program.bipft(["finetune", "--task", task.name] + common)
      let byFile = try Program.bipft(["finetune", "--config", "configs/glue/\(task.name).yaml"] + common)
      #expect(byName.code == 0 && byName.output.contains("steps an epoch"), "\(task.name): \(byName.errors)")
      #expect(byFile.code == 0 && byFile.output == byName.output, "\(task.name): \(byFile)")
    }
    // Options count more than the file, and --set more than options.
    let options = try Program.bipft([
      "finetune", "--config", "configs/glue/rte.yaml", "--from", scratch.path("base"), "--data",
      scratch.path("glue"), "--epochs", "3", "--learning-rate", "1e-4", "--seed", "9", "--batch", "16",
      "--length", "20",
      "--set", "training.learning_rate=2e-4", "--set", "task.training_rows=40", "--dry-run", "--ranks", "4",
    ])
    #expect(options.code == 0, "\(options.errors)")
    for line in [
      "seed: 9", "  steps: 6", "  global_batch: 16", "  micro_batch: 2", "  learning_rate: 0.0002",
      "  every: 2", "  training_rows: 40", "  epochs: null", "  keep_best: true",
    ] {
      #expect(options.output.contains("\(line)\n"), "\(line) is not in \(options.output)")
    }
    // Under mpirun the first rank reads the file; it trains on the rows that are asked for.
    let run = try Program.bipft(
      [
        "finetune", "--config", "configs/glue/rte.yaml", "--from", scratch.path("base"), "--data",
        scratch.path("glue"), "--epochs", "1", "--length", "20", "--set", "task.training_rows=40", "--set",
        "threads=1",
        "--output", scratch.path("rte"),
      ], ranks: 2)
    #expect(run.code == 0, "\(run.errors)")
    #expect(run.errors.contains("train.tsv: 40 of 70 rows are trained on"))
    #expect(run.output.contains("seed 1, last epoch"))
  }
}
