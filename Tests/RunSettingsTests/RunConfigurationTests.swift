import Foundation
import RunSettings
import Testing

/// The folder of the package.
private let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
  .deletingLastPathComponent()
  .deletingLastPathComponent()

private func shipped(_ name: String) -> String { repository.appendingPathComponent("configs/\(name)").path }

let base = """
  seed: 7
  model:
    hidden_size: 64
    layers: 2
    heads: 4
    intermediate_size: 256
    maximum_length: 128
    estimator_rank: 1
    dropout: 0.1
  data:
    corpus: corpus/demo
    sequence_length: 64
  training:
    steps: 600
    global_batch: 32
    micro_batch: 4
    learning_rate: 1e-3
    warmup_steps: 60
    weight_decay: 0.01
    gradient_clip: 1
  evaluation:
    every: 100
    sequences: 128
  checkpoint:
    every: 200
    keep: 2

  """

/// The lines of the error that `text` and `overrides` give; empty if there is none.
func complaints(_ text: String, overrides: [String] = []) -> [String] {
  do {
    _ = try RunConfiguration.parse(text, file: "configs/demo.yaml", overrides: overrides)
    return []
  } catch {
    return error.description.split(separator: "\n").map(String.init)
  }
}

/// `base` with one line replaced.
func changed(_ line: String, to new: String) -> String {
  #expect(base.contains("\(line)\n"))
  return base.replacingOccurrences(of: "\(line)\n", with: "\(new)\n")
}

@Suite struct RunConfigurationTests {
  @Test func readsEveryKey() throws {
    let run = try RunConfiguration.parse(base, file: "a.yaml")
    #expect(run.seed == 7)
    #expect(run.threads == nil)
    #expect(run.synchronisation == .sharded && run.gradientFormat == .int32 && run.lanes == .fixed)
    #expect(run.initialWeights == nil)
    #expect(run.teacher == nil)
    #expect(run.model.hiddenSize == 64)
    #expect(run.model.layers == 2)
    #expect(run.model.heads == 4)
    #expect(run.model.intermediateSize == 256)
    #expect(run.model.maximumLength == 128)
    #expect(run.model.estimatorRank == 1)
    #expect(run.model.dropout == 0.1)
    #expect(run.model.stepSizeFit == .published)
    #expect(run.data.corpus == "corpus/demo")
    #expect(run.data.sequenceLength == 64)
    #expect(run.training.steps == 600)
    #expect(run.training.globalBatch == 32)
    #expect(run.training.microBatch == 4)
    #expect(run.laneCount == 8)
    #expect(run.training.learningRate == 0.001)
    #expect(run.training.warmupSteps == 60)
    #expect(run.training.weightDecay == 0.01)
    #expect(run.training.gradientClip == 1)
    #expect(run.evaluation.every == 100)
    #expect(run.evaluation.sequences == 128)
    #expect(run.checkpoint.every == 200)
    #expect(run.checkpoint.keep == 2)
    let model = run.modelConfiguration(vocabularySize: 1000)
    #expect(model.vocabularySize == 1000)
    #expect(model.hiddenSize == 64 && model.heads == 4 && model.layers == 2 && model.dropout == 0.1)
    #expect(model.intermediateSize == 256 && model.maximumLength == 128 && model.estimatorRank == 1)
  }

  @Test func shippedFilesAreCompleteAndSound() throws {
    let demo = try RunConfiguration.load(file: shipped("demo.yaml"))
    #expect(demo.laneCount == 8)
    let published = try RunConfiguration.load(file: shipped("bipft-base.yaml"))
    #expect(published.training.globalBatch == 512 && published.training.microBatch == 64)
    #expect(published.training.learningRate == 2e-4 && published.training.warmupSteps == 5000)
    #expect(published.training.steps == 500_000 && published.training.weightDecay == 0)
    #expect(
      published.model.hiddenSize == 768 && published.model.layers == 12 && published.model.dropout == 0.1)
    // Every key stands in the files, those with a default included.
    let sentences = try RunConfiguration.load(file: shipped("minilm-sentence.yaml"))
    #expect(sentences.objective == "sentence" && sentences.model.hiddenSize == 384)
    for name in ["demo.yaml", "bipft-base.yaml", "minilm-sentence.yaml"] {
      let text = try String(contentsOfFile: shipped(name), encoding: .utf8)
      for setting in demo.settings {
        let leaf = setting.key.split(separator: ".").last!
        #expect(
          text.contains("\n\(setting.key.contains(".") ? "  " : "")\(leaf): "), "\(name) lacks \(setting.key)"
        )
      }
    }
  }

  @Test func canonicalTextReadsBackToTheSame() throws {
    let overrides = [
      "seed=18446744073709551615", "threads=3", "initial_weights=\"a \\\"b\\\": c\\\\d\\u00e9.safetensors\"",
      "model.dropout=0.30000001", "training.learning_rate=1.2345678e-5",
      "model.step_size_fit=least_squares", "model.gradient_window=1.5", "estimators.fit=closed_form",
      "estimators.per_head=true",
      "model.linear_rank=2", "model.precision=half_binary",
      "data.corpus='12'", "task.label='null'", "task.teacher=runs/teacher", "task.distillation=logits",
      "task.pooling=mean",
      "synchronisation=replicated", "gradient_format=int16", "lanes=dynamic",
      "training.step_size_learning_rate=0.0001", "training.hidden_loss=sum",
      "task.epochs=3", "task.training_rows=100", "evaluation.patience=2", "checkpoint.keep_best=true",
    ]
    let run = try RunConfiguration.parse(base, file: "a.yaml", overrides: overrides)
    #expect(run.seed == .max && run.threads == 3 && run.data.corpus == "12")
    #expect(run.initialWeights == "a \"b\": c\\dé.safetensors")
    #expect(run.model.stepSizeFit == .leastSquares && run.model.gradientWindow == .means(1.5))
    #expect(run.estimators.fit == .closedForm && run.estimators.perHead)
    #expect(run.model.linearRank == 2 && run.model.precision == .halfBinary)
    #expect(run.task.teacher == "runs/teacher" && run.task.distillation == .logits)
    #expect(run.training.stepSizeLearningRate == 0.0001 && run.training.hiddenLoss == .sum)
    #expect(run.task.pooling == .mean)
    #expect(run.task.label == "null")
    #expect(run.synchronisation == .replicated && run.gradientFormat == .int16 && run.lanes == .dynamic)
    #expect(try RunConfiguration.parse(run.canonicalText, file: "b.yaml") == run)
    #expect(
      run.canonicalText == (try RunConfiguration.parse(run.canonicalText, file: "b.yaml")).canonicalText)
  }

  @Test func activationsOfSeveralBitsReadBackToTheSame() throws {
    let run = try RunConfiguration.parse(
      base, file: "a.yaml", overrides: ["model.activation_bits=4", "model.ffn_activation=relu"])
    let model = run.modelConfiguration(vocabularySize: 100)
    #expect(model.activationBits == 4 && model.feedForwardActivation == .relu)
    #expect(try RunConfiguration.parse(run.canonicalText, file: "b.yaml") == run)
  }

  @Test func canonicalTextIsFixed() throws {
    let text = try RunConfiguration.parse(base, file: "a.yaml").canonicalText
    #expect(
      text == """
        seed: 7
        threads: auto
        synchronisation: sharded
        gradient_format: int32
        lanes: fixed
        stop_after: null
        hang_timeout: 600
        objective: pretraining
        initial_weights: null
        teacher: null

        model:
          hidden_size: 64
          layers: 2
          heads: 4
          intermediate_size: 256
          maximum_length: 128
          estimator_rank: 1
          dropout: 0.1
          linear_rank: 0
          precision: binary
          activation_bits: 1
          ffn_activation: gelu
          step_size_fit: published
          gradient_window: step_size

        estimators:
          fit: gradient
          per_head: false

        data:
          corpus: corpus/demo
          sequence_length: 64

        task:
          name: null
          text: null
          second_text: null
          label: null
          vocabulary: null
          epochs: null
          training_rows: null
          pooling: first
          teacher: null
          distillation: both

        sentence:
          cosine_weight: 1.0
          similarity_weight: 1.0
          hidden_weight: 1.0
          temperature: 0.05
          evaluation: null

        training:
          steps: 600
          global_batch: 32
          micro_batch: 4
          learning_rate: 0.001
          step_size_learning_rate: null
          warmup_steps: 60
          decay: linear
          weight_decay: 0.01
          gradient_clip: 1.0
          hidden_loss: mean
          backward_precision: float32
          maximum_skipped_steps: 10
          spike_z_score: 0.0
          replica_check_every: 100

        evaluation:
          every: 100
          sequences: 128
          patience: 0

        checkpoint:
          every: 200
          keep: 2
          keep_every: 0
          keep_best: false

        """)
  }

  @Test func definingSettingsIgnoreWhatChangesNoNumber() throws {
    let run = try RunConfiguration.parse(base, file: "a.yaml")
    let same = try RunConfiguration.parse(
      base, file: "b.yaml",
      overrides: [
        "threads=2", "synchronisation=replicated", "lanes=dynamic", "checkpoint.every=1",
        "checkpoint.keep=9",
        "checkpoint.keep_every=7", "checkpoint.keep_best=true", "stop_after=1h",
        "hang_timeout=5", "training.maximum_skipped_steps=3", "training.replica_check_every=1",
      ])
    #expect(run.definingSettings == same.definingSettings)
    let other = try RunConfiguration.parse(base, file: "a.yaml", overrides: ["training.steps=601"])
    let differing = zip(run.definingSettings, other.definingSettings).filter { $0 != $1 }
    #expect(differing.map(\.0.key) == ["training.steps"])
    #expect(differing.map(\.0.value) == ["600"] && differing.map(\.1.value) == ["601"])
    #expect(run.definingSettings != other.definingSettings)
    #expect(run.definingSettings.count == run.settings.count - 11)
  }

  @Test(arguments: [
    ("84600", 84_600), ("23h30m", 84_600), ("1d", 86_400), ("90m30s", 5_430), ("1d2h3m4s", 93_784),
    ("null", nil),
  ])
  func stopAfterIsATime(_ text: String, _ seconds: Int?) throws {
    let run = try RunConfiguration.parse(base, file: "a.yaml", overrides: ["stop_after=\(text)"])
    #expect(run.stopAfter == seconds)
    #expect(try RunConfiguration.parse(run.canonicalText, file: "b.yaml") == run)
  }

  @Test func overridesReplaceAndComplete() throws {
    let run = try RunConfiguration.parse(
      changed("  keep: 2", to: ""), file: "a.yaml",
      overrides: ["training.steps=0", "checkpoint.keep=5", "teacher=bert.safetensors", "threads=auto"])
    #expect(run.training.steps == 0 && run.checkpoint.keep == 5 && run.teacher == "bert.safetensors")
    #expect(try RunConfiguration.parse(base, file: "a.yaml", overrides: ["teacher="]).teacher == nil)
  }
}
