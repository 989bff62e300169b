import Foundation
import Telemetry
import Testing

/// The objective `sentence` as a user has it: a teacher, a corpus, pairs of texts to be judged by.
@Suite(.serialized) struct SentenceTests {
  private static let steps = 60

  /// A tiny corpus, a small random BERT as teacher, and pairs of which half are the same sentence with a word more.
  private struct Scene {
    let tiny: TinyRun

    init() throws {
      tiny = try TinyRun()
      let settings = ["training.steps=0", "model.precision=full", "model.estimator_rank=0"]
      let teacher = try Program.pretrain(
        tiny.arguments("teacher", settings.flatMap { ["--set", $0] }))
      try #require(teacher.code == 0, "\(teacher.errors)")
      try FileManager.default.createDirectory(
        atPath: tiny.scratch.path("pairs"), withIntermediateDirectories: true)
      let words = ["river", "house", "king", "queen", "night", "garden", "road", "horse"]
      let rows = (0..<20).map { index in
        let (a, b) = (words[index % 8], words[(index * 3 + 1) % 8])
        let text = "the old \(a) and the young \(b)"
        return index % 2 == 0
          ? "\(text)\t\(text) then\t4.5\n" : "\(text)\tnothing walked to \(words[(index + 5) % 8])\t0.5\n"
      }
      for name in ["train", "dev"] {
        try tiny.scratch.write("pairs/\(name).tsv", "sentence1\tsentence2\tscore\n" + rows.joined())
      }
    }

    func arguments(_ run: String, _ more: [String] = []) -> [String] {
      let settings =
        [
          "objective=sentence",
          "teacher=\(tiny.scratch.path("teacher/checkpoints/step-00000000/model.safetensors"))",
          "sentence.evaluation=\(tiny.scratch.path("pairs"))", "training.steps=\(SentenceTests.steps)",
          "training.micro_batch=4", "training.learning_rate=5e-3", "evaluation.every=20",
          "checkpoint.every=20", "model.dropout=0",
        ] + more
      return tiny.arguments(run, settings.flatMap { ["--set", $0] })
    }

    func run(_ name: String, ranks: Int, _ more: [String] = []) throws {
      let result = try Program.pretrain(arguments(name, more), ranks: ranks)
      try #require(result.code == 0, "\(name): \(result.errors)")
    }
  }

  @Test(.timeLimit(.minutes(4))) func embeddingsComeNearTheTeachers() throws {
    let scene = try Scene()
    try scene.run("alone", ranks: 1)
    let records = try MetricsFile.records(path: scene.tiny.scratch.path("alone/metrics.jsonl"))
    let evaluations = records.filter { $0.kind == .eval }
    #expect(evaluations.map(\.step) == [0, 20, 40, 60])
    for record in evaluations {
      #expect(record.losses.map(\.key) == ["cosine_loss", "similarity_loss", "hidden_loss"])
      #expect(record.metrics.map(\.key) == ["pearson", "spearman"])
    }
    let (first, last) = (evaluations[0], evaluations[3])
    // In the mean of ten steps: a course this short and small hangs on the last bits of float32 sums, so on
    // every change of their order.
    let training = records.filter { $0.kind == .train }.map(\.loss)
    let (before, after) = (training.prefix(10).reduce(0, +) / 10, training.suffix(10).reduce(0, +) / 10)
    #expect(after < 0.8 * before, "\(before) to \(after)")
    #expect(last.losses[0].value < first.losses[0].value)
    // A sentence is nearer to itself with a word more than to another one, whatever the teacher.
    #expect(last.metrics[1].value > 0.5, "\(evaluations.map(\.metrics))")

    // What was done does not depend on who did it, nor on a stop.
    for ranks in [2, 4] {
      try scene.run("ranks-\(ranks)", ranks: ranks)
      #expect(try scene.tiny.metrics("ranks-\(ranks)") == scene.tiny.metrics("alone"))
      #expect(
        try scene.tiny.weights("ranks-\(ranks)", step: Self.steps)
          == scene.tiny.weights("alone", step: Self.steps))
    }
    let stopped = try Program.pretrain(
      scene.arguments("stopped"), ranks: 2, environment: ["BIPFT_TEST_FAULTS": "stop:1:33"])
    #expect(stopped.code == 75, "\(stopped.errors)")
    try scene.run("stopped", ranks: 1)
    #expect(try scene.tiny.metrics("stopped") == scene.tiny.metrics("alone"))
    #expect(
      try scene.tiny.weights("stopped", step: Self.steps) == scene.tiny.weights("alone", step: Self.steps))
    let audit = try Program.bipft(["schedule", "--audit", scene.tiny.scratch.path("stopped")])
    #expect(audit.code == 0 && audit.output.contains("exact: every step was done once"), "\(audit)")
  }

  /// A micro-batch of more tokens than others are computed in at a time is compared whole, by any number of threads.
  @Test(.timeLimit(.minutes(2))) func aMicroBatchIsComparedWhole() throws {
    let scene = try Scene()
    let more = [
      "training.steps=4", "training.micro_batch=48", "training.global_batch=96", "evaluation.every=2",
    ]
    try scene.run("whole", ranks: 1, more)
    try scene.run("threads", ranks: 2, more + ["threads=2"])
    #expect(try scene.tiny.metrics("whole") == scene.tiny.metrics("threads"))
    #expect(try scene.tiny.weights("whole", step: 4) == scene.tiny.weights("threads", step: 4))
  }

  @Test(.timeLimit(.minutes(1))) func whatIsMissingIsNamed() throws {
    let scene = try Scene()
    let alone = try Program.pretrain(scene.arguments("a", ["teacher=null"]))
    #expect(alone.code == 78 && alone.errors.contains("teacher: missing"), "\(alone.errors)")
    let gone = try Program.pretrain(
      scene.arguments("b", ["sentence.evaluation=\(scene.tiny.scratch.path("nowhere"))"]))
    #expect(gone.code == 78 && gone.errors.contains("nowhere"), "\(gone.errors)")
    let classes = try Program.pretrain(scene.arguments("c", ["task.name=sst2"]))
    #expect(classes.code == 78 && classes.errors.contains("sst2"), "\(classes.errors)")
  }
}
