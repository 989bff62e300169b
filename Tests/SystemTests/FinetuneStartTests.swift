import Foundation
import Telemetry
import TensorFiles
import Testing

/// What `bipft finetune` can start from, and be taught by.
@Suite(.serialized) struct FinetuneStartTests {
  /// Folders of a BERT as Hugging Face's programs write one, in the scratch folder of `scene`.
  private func writeBERT(_ scene: FinetuneScene, _ name: String = "bert", activation: String = "gelu") throws
  {
    let scratch = scene.tiny.scratch
    try FileManager.default.createDirectory(atPath: scratch.path(name), withIntermediateDirectories: true)
    try TinyRun.writeBERT(to: scratch.path(name + "/model.safetensors"))
    try FileManager.default.copyItem(
      atPath: scratch.path("vocab.txt"), toPath: scratch.path(name + "/vocab.txt"))
    try scratch.write(
      name + "/config.json",
      """
      {"model_type": "bert", "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
       "intermediate_size": 40, "max_position_embeddings": 64, "hidden_act": "\(activation)", "vocab_size": 31}
      """)
  }

  private func keys(_ scene: FinetuneScene, _ run: String, step: Int) throws -> [String] {
    try SafetensorsFile(
      path: scene.tiny.scratch.path(run) + "/checkpoints/step-0000000\(step)/model.safetensors"
    ).entries.map(\.name)
  }

  @Test(.timeLimit(.minutes(4))) func aBERTAsItIsTeachesItselfBinarised() throws {
    let scene = try FinetuneScene()
    let scratch = scene.tiny.scratch
    try writeBERT(scene)
    func arguments(_ run: String, _ more: [String]) -> [String] {
      scene.arguments(run, ["--from", scratch.path("bert"), "--epochs", "1"] + more)
    }

    // Full precision: the parameters of a BERT and no others, the same bits on two ranks.
    let full = ["--precision", "full", "--epochs", "8", "--learning-rate", "1e-2"]
    for (run, ranks) in [("teacher", nil), ("teacher-2", 2)] {
      let outcome = try Program.bipft(
        scene.arguments(run, ["--from", scratch.path("bert")] + full), ranks: ranks)
      try #require(outcome.code == 0, "\(outcome.errors)")
    }
    #expect(try scene.tiny.metrics("teacher") == scene.tiny.metrics("teacher-2"))
    #expect(try scene.tiny.weights("teacher", step: 48) == scene.tiny.weights("teacher-2", step: 48))
    let evaluations = try scene.evaluations("teacher")
    #expect(evaluations.last!.metrics[0].value > 0.9, "\(evaluations.map { $0.metrics[0].value })")
    let names = try SafetensorsFile(
      path: scratch.path("teacher/checkpoints/step-00000048/model.safetensors")
    ).entries.map(\.name)
    let others = ["clip", "move.bias", "q_m", "v_p", "pooler.LayerNorm", "lora"]
    #expect(names.contains("classifier.weight"))
    #expect(!names.contains { name in others.contains { name.contains($0) } }, "\(names)")

    // Binarised on the spot and taught by it: every record has every term, on two ranks the same.
    let teacher = ["--teacher", scratch.path("teacher")]
    for (run, ranks) in [("student", nil), ("student-2", 2)] {
      let outcome = try Program.bipft(
        arguments(run, teacher + ["--set", "model.linear_rank=1"]), ranks: ranks)
      try #require(outcome.code == 0, "\(outcome.errors)")
    }
    #expect(try scene.tiny.metrics("student") == scene.tiny.metrics("student-2"))
    #expect(try scene.tiny.weights("student", step: 6) == scene.tiny.weights("student-2", step: 6))
    let terms = ["task_loss", "hidden_loss", "task_distillation_loss"]
    for record in try scene.evaluations("student") {
      #expect(record.losses.map(\.key) == terms && record.losses.allSatisfy { $0.value > 0 })
      #expect(abs(record.losses.reduce(0) { $0 + $1.value } - record.loss) < 1e-5)
    }
    #expect(try scene.tiny.metrics("student").allSatisfy { line in terms.allSatisfy { line.contains($0) } })
    let student = try keys(scene, "student", step: 6)
    #expect(student.contains("bert.encoder.layer.1.attention.output.lora_o.lora.1.weight"))
    #expect(student.contains("bert.encoder.layer.0.attention.self.q_m.weight"))

    // Less of it: logits alone; no estimators; activations alone binary.
    let logits = try Program.bipft(
      arguments("logits", teacher + ["--distillation", "logits", "--estimator-rank", "0"]))
    try #require(logits.code == 0, "\(logits.errors)")
    #expect(try scene.evaluations("logits").allSatisfy { !$0.losses.map(\.key).contains("hidden_loss") })
    #expect(try !keys(scene, "logits", step: 6).contains { $0.contains("q_m") })
    let half = try Program.bipft(
      arguments("half", ["--precision", "half_binary", "--from", scratch.path("teacher")]))
    try #require(half.code == 0, "\(half.errors)")
    #expect(try keys(scene, "half", step: 6).contains("bert.pooler.LayerNorm.weight"))

    // What does not go.
    func fails(_ arguments: [String], _ words: String) throws {
      let result = try Program.bipft(arguments)
      #expect(result.code == 78 && result.errors.contains(words), "\(result.code): \(result.errors)")
    }
    try fails(
      arguments("no", ["--from", scratch.path("base"), "--precision", "full"]), "holds a binary model")
    try fails(arguments("no", ["--teacher", scratch.path("student")]), "holds a binary model")
    try fails(arguments("no", ["--teacher", scratch.path("bert")]), "has no classifier")
    try fails(arguments("no", teacher + ["--pooling", "mean"]), "use --distillation hidden")
    try fails(
      ["export", scratch.path("teacher"), "--output", scratch.path("m")], "has model.precision full")
    try scratch.write("reviews/train.csv", "review,kind\n" + (0..<20).map { "old,\($0 % 2)\n" }.joined())
    try scratch.write("reviews/dev.jsonl", "{\"review\": \"old\", \"kind\": \"1\"}\n")
    try fails(arguments("no", teacher), "tells \"common\", \"royal\", the data have \"0\", \"1\"")
    try writeBERT(scene, "relu", activation: "relu")
    try fails(
      arguments("no", ["--from", scratch.path("relu/model.safetensors")]), "hidden_act is relu")
    try FileManager.default.removeItem(atPath: scratch.path("relu/config.json"))
    try fails(arguments("no", ["--from", scratch.path("relu/model.safetensors")]), "the number of heads")
  }

  @Test(.timeLimit(.minutes(2))) func fromScratch() throws {
    let scene = try FinetuneScene()
    let scratch = scene.tiny.scratch
    let shape = ["hidden_size=24", "layers=1", "heads=3", "intermediate_size=40"].flatMap {
      ["--set", "model.\($0)"]
    }
    let start = ["--from", "scratch", "--vocab", scratch.path("vocab.txt"), "--epochs", "1"] + shape
    let short = try Program.bipft(scene.arguments("run", start))
    #expect(short.code == 78 && short.errors.contains("no model.maximum_length"), "\(short.errors)")
    let whole = try Program.bipft(scene.arguments("run", start + ["--set", "model.maximum_length=16"]))
    #expect(whole.code == 0, "\(whole.errors)")
    #expect(try scratch.text("run/config.yaml").contains("initial_weights: null"))
  }
}
