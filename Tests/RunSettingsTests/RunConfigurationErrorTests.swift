import Foundation
import RunSettings
import Testing

@Suite struct RunConfigurationErrorTests {
  @Test(arguments: [
    ("  layers: 2", "  layers: two", "4: model.layers: expected an integer from 1 to 1024, found two"),
    ("  layers: 2", "  layers: \"2\"", "4: model.layers: expected an integer from 1 to 1024, found \"2\""),
    ("  layers: 2", "  layers: 2.0", "4: model.layers: expected an integer from 1 to 1024, found 2.0"),
    ("  layers: 2", "  layers: 0", "4: model.layers: expected an integer from 1 to 1024, found 0"),
    ("  layers: 2", "  layers:", "4: model.layers: expected an integer from 1 to 1024, found nothing"),
    ("  layers: 2", "  layers: [2]", "4: model.layers: expected an integer from 1 to 1024, found a list"),
    (
      "  layers: 2", "  layers: {a: 2}",
      "4: model.layers: expected an integer from 1 to 1024, found keys and values"
    ),
    ("seed: 7", "seed: -1", "1: seed: expected an integer from 0 to 18446744073709551615, found -1"),
    ("seed: 7", "seed: 7\nthreads: 0", "2: threads: expected auto or an integer from 1 to 4096, found 0"),
    ("seed: 7", "seed: 7\nteacher: ''", "2: teacher: expected a path or null, found \"\""),
    ("  dropout: 0.1", "  dropout: 1.0", "9: model.dropout: expected a number from 0 to below 1, found 1.0"),
    ("  dropout: 0.1", "  dropout: nan", "9: model.dropout: expected a number from 0 to below 1, found nan"),
    (
      "  dropout: 0.1", "  dropout: 0x0p0",
      "9: model.dropout: expected a number from 0 to below 1, found 0x0p0"
    ),
    (
      "  dropout: 0.1", "  dropout: 0.1\n  step_size_fit: best",
      "10: model.step_size_fit: expected published or least_squares or output, found best"
    ),
    ("  corpus: corpus/demo", "  corpus: null", "11: data.corpus: expected a path, found null"),
    (
      "  learning_rate: 1e-3", "  learning_rate: 0",
      "17: training.learning_rate: expected a number above 0 and up to 1, found 0"
    ),
    (
      "  learning_rate: 1e-3", "  learning_rate: 1e99",
      "17: training.learning_rate: expected a number above 0 and up to 1, found 1e99"
    ),
    (
      "  gradient_clip: 1", "  gradient_clip: -1",
      "20: training.gradient_clip: expected a number from 0 (no clipping) to 1000000, found -1"
    ),
    (
      "  hidden_size: 64", "  hiden_size: 64",
      "3: model.hiden_size: unknown key; did you mean model.hidden_size?"
    ),
    ("  steps: 600", "  step: 600", "14: training.step: unknown key; did you mean training.steps?"),
    (
      "seed: 7", "seed: 7\nwarmup_steps: 3",
      "2: warmup_steps: unknown key; did you mean training.warmup_steps?"
    ),
    (
      "seed: 7", "seed: 7\nsynchronisation: none",
      "2: synchronisation: expected sharded or replicated, found none"
    ),
    (
      "seed: 7", "seed: 7\ngradient_format: float16",
      "2: gradient_format: expected int32 or int16, found float16"
    ),
    (
      "seed: 7", "seed: 7\ngradient_format: float32",
      "2: gradient_format: gradients are added up as integers now: write int32, which is as exact, or leave the key out"
    ),
    (
      "seed: 7", "seed: 7\ngradient_format: bfloat16",
      "2: gradient_format: gradients are added up as integers now: write int16, as many bytes and closer, or int32"
    ),
    (
      "seed: 7", "seed: 7\noverlap_exchange: true",
      "2: overlap_exchange: is gone, and nothing takes its place: leave it out"
    ),
    ("model:", "modle:", "2: modle: unknown key; did you mean model?"),
    (
      "  keep: 2", "  keep: 2\n  compression: 1",
      "27: checkpoint.compression: unknown key; those of checkpoint are every, keep, keep_every, keep_best"
    ),
    (
      "seed: 7", "seed: 7\noptimizer: adamw",
      "2: optimizer: unknown key; there are seed, threads, synchronisation, gradient_format, lanes, stop_after, hang_timeout, objective, initial_weights, teacher "
        + "and the sections model, estimators, data, task, sentence, training, evaluation, checkpoint"
    ),
    ("  layers: 2", "  layers: 2\n  layers: 3", "5: model.layers: given in line 4 already; keep one"),
    (
      "evaluation:\n  every: 100\n  sequences: 128", "evaluation: {every: 100, sequences: 128, every: 2}",
      "21: evaluation.every: given more than once; keep one"
    ),
    ("seed: 7", "seed: 7\nseed: 8", "2: seed: given in line 1 already; keep one"),
    ("  keep: 2", "  keep: 2\nmodel: 3", "27: model: given in line 2 already; keep one"),
    ("  layers: 2", "", "2: model.layers: missing; expected an integer from 1 to 1024"),
    (
      "evaluation:\n  every: 100\n  sequences: 128", "",
      ": evaluation: missing; it has the keys every, sequences, patience"
    ),
    (
      "evaluation:\n  every: 100\n  sequences: 128", "evaluation: 3",
      "21: evaluation: expected the keys every, sequences, patience below it, found 3"
    ),
    ("seed: 7", "", ": seed: missing; expected an integer from 0 to 18446744073709551615"),
    ("  heads: 4", "  heads: 5", "3: model.hidden_size: 64 is not a multiple of model.heads 5"),
    (
      "  global_batch: 32", "  global_batch: 30",
      "15: training.global_batch: 30 is not a multiple of training.micro_batch 4"
    ),
    (
      "  sequence_length: 64", "  sequence_length: 256",
      "12: data.sequence_length: 256 is more than model.maximum_length 128"
    ),
    (
      "  layers: 2", "  layers: [2",
      "5: not valid YAML in column 8: did not find expected ',' or ']'"
    ),
    (
      "  layers: 2", "\tlayers: 2",
      "4: not valid YAML in column 1: found a tab character that violates indentation"
    ),
  ])
  func aWrongLineGivesOneMessage(_ line: String, _ new: String, _ message: String) {
    let separator = message.hasPrefix(":") ? "" : ":"
    #expect(complaints(changed(line, to: new)) == ["configs/demo.yaml\(separator)\(message)"])
  }

  @Test(arguments: [
    ("model.layers=two", "expected an integer from 1 to 1024, found two"),
    ("model.layers=", "expected an integer from 1 to 1024, found nothing"),
    ("model.layers=[1", "the value is not valid YAML; put it in quotes"),
    ("model.layer=2", "unknown key; did you mean model.layers?"),
    ("modle.layers=2", "unknown key; did you mean model.layers?"),
    (
      "model=2",
      "is a section; set one of its keys hidden_size, layers, heads, intermediate_size, maximum_length, "
        + "estimator_rank, dropout, linear_rank, precision, activation_bits, ffn_activation, step_size_fit, gradient_window, as in model.hidden_size=…"
    ),
    ("training.steps", "expected KEY=VALUE, as in --set training.steps=100"),
    ("model.activation_bits=3", "expected 1, 2, 4 or 8, found 3"),
    ("model.activation_bits=0", "expected 1, 2, 4 or 8, found 0"),
    ("model.ffn_activation=tanh", "expected gelu or relu, found tanh"),
    ("model.gradient_window=0", "expected step_size or a number above 0 and up to 1000, found 0"),
    ("model.gradient_window=0x1", "expected step_size or a number above 0 and up to 1000, found 0x1"),
    ("training.hidden_loss=max", "expected mean or sum, found max"),
    (
      "training.hidden_loss=sum",
      "sum is of distances from a teacher, and there is none: set teacher, or training.hidden_loss to mean"
    ),
    ("training.step_size_learning_rate=2", "expected a number from 0 to 1 or null, found 2"),
    ("estimators.fit=svd", "expected gradient or closed_form, found svd"),
    ("stop_after=30m1h", "expected null, seconds, or a time such as 23h30m, found 30m1h"),
    ("stop_after=0", "expected null, seconds, or a time such as 23h30m, found 0"),
    ("stop_after=h", "expected null, seconds, or a time such as 23h30m, found h"),
    ("=3", "expected KEY=VALUE, as in --set training.steps=100"),
    ("model.hidden_size=66", "66 is not a multiple of model.heads 4"),
    (
      "model.precision=full",
      "model.estimator_rank: 1 is for what binarisation throws away; model.precision is full: set model.estimator_rank to 0"
    ),
    ("model.heads=5", "model.hidden_size: 64 is not a multiple of model.heads 5"),
    ("training.micro_batch=5", "training.global_batch: 32 is not a multiple of training.micro_batch 5"),
  ])
  func aWrongOverrideIsNamed(_ override: String, _ message: String) {
    #expect(complaints(base, overrides: [override]) == ["--set \(override): \(message)"])
  }

  /// What is made for signs, and sums that would not be exact.
  @Test(arguments: [
    (
      ["model.activation_bits=2", "model.step_size_fit=least_squares"],
      "model.step_size_fit=least_squares: least_squares is for signs alone; model.activation_bits is 2: "
        + "set model.step_size_fit to published"
    ),
    (
      ["model.ffn_activation=relu", "model.gradient_window=1.5"],
      "model.gradient_window=1.5: 1.5 is for signs alone; model.ffn_activation is relu: "
        + "set model.gradient_window to step_size"
    ),
    (
      ["estimators.fit=closed_form", "model.activation_bits=8"],
      "estimators.fit=closed_form: closed_form is for signs alone; model.activation_bits is 8: "
        + "set estimators.fit to gradient"
    ),
    (
      ["model.estimator_rank=0", "model.precision=full", "training.step_size_learning_rate=0.0001"],
      "training.step_size_learning_rate=0.0001: 0.0001 is for binary activations; model.precision is full: "
        + "set training.step_size_learning_rate to null"
    ),
    (
      ["model.estimator_rank=0", "model.precision=full", "model.activation_bits=4"],
      "model.activation_bits=4: 4 is for binary activations; model.precision is full: "
        + "set model.activation_bits to 1"
    ),
    (
      ["model.estimator_rank=0", "model.precision=full", "model.ffn_activation=relu"],
      "model.ffn_activation=relu: relu is for binary activations; model.precision is full: "
        + "set model.ffn_activation to gelu"
    ),
    (
      ["model.activation_bits=8", "model.maximum_length=515"],
      "model.maximum_length=515: 515 is more than sums of 8-bit activations are exact for: at most 514, "
        + "or set model.activation_bits to less"
    ),
    (
      ["model.activation_bits=8", "model.intermediate_size=65794"],
      "model.intermediate_size=65794: 65794 is more than sums of 8-bit activations are exact for: at most 65793, "
        + "or set model.activation_bits to less"
    ),
  ])
  func whatLevelsCannotIsRefused(_ overrides: [String], _ message: String) {
    #expect(complaints(base, overrides: overrides) == ["--set " + message])
  }

  /// Launchers append their overrides to those that they are given.
  @Test func theLastOfTwoOverridesCounts() throws {
    let overrides = ["seed=1", "training.steps=5", "seed=x", "seed=2"]
    let run = try RunConfiguration.parse(base, file: "a.yaml", overrides: overrides)
    #expect(run.seed == 2 && run.training.steps == 5)
    #expect(complaints(base, overrides: ["seed=1", "seed=x"]).count == 1)
  }

  /// However a key is written twice, both lines are named.
  @Test func aKeyGivenTwiceIsAnError() {
    func complaint(_ line: Int, _ key: String, _ first: Int) -> [String] {
      ["configs/demo.yaml:\(line): \(key): given in line \(first) already; keep one"]
    }
    #expect(complaints(base + "training.steps: 3\n") == complaint(27, "training.steps", 14))
    #expect(complaints("training.steps: 3\n" + base) == complaint(15, "training.steps", 1))
    let seed = changed("seed: 7", to: "model.layers: 2\nmodel.layers: 3\nseed: 7")
    #expect(complaints(seed) == complaint(2, "model.layers", 1))
    let apart = changed("  keep: 2", to: "  keep: 2\n  # again\n  \"every\" : 5")
    #expect(complaints(apart) == complaint(28, "checkpoint.every", 25))
    let flow = changed("  sequences: 128", to: "  sequences: 128\nseed: {a: 1, a: 2}")
    #expect(complaints(flow).count == 1 && complaints(flow)[0].contains(":24: "))
    // The whole key in place of a section is not twice.
    #expect(
      complaints(changed("  steps: 600", to: "").replacing("seed: 7", with: "seed: 7\ntraining.steps: 3"))
        == [])
  }

  /// A file of some keys over a configuration that gives the others.
  @Test func someKeysOverABase() throws {
    let whole = try RunConfiguration.parse(base, file: "a.yaml")
    let some = "task:\n  name: rte\n  epochs: 3\ntraining:\n  micro_batch: 8\n"
    let run = try RunConfiguration.parse(some, file: "b.yaml", over: whole, overrides: ["seed=8"])
    #expect(run.task.name == "rte" && run.task.epochs == 3 && run.training.microBatch == 8 && run.seed == 8)
    let back = ["task.name=null", "task.epochs=null", "training.micro_batch=4", "seed=7"]
    #expect(try RunConfiguration.parse(run.canonicalText, file: "c.yaml", overrides: back) == whole)
    #expect(try RunConfiguration.parse("{}", file: "b.yaml", over: whole) == whole)
    // What does not fit the base is told of the file.
    do throws(ConfigurationError) {
      _ = try RunConfiguration.parse("data:\n  sequence_length: 200\n", file: "b.yaml", over: whole)
      Issue.record("200 tokens for a model of 128")
    } catch {
      #expect(
        error.description
          == "b.yaml:2: data.sequence_length: 200 is more than model.maximum_length 128")
    }
    do throws(ConfigurationError) {
      _ = try RunConfiguration.parse("training:\n  micro_batch: 5\n", file: "b.yaml", over: whole)
      Issue.record("32 in micro-batches of 5")
    } catch {
      #expect(error.description.hasPrefix("b.yaml: training.global_batch: 32 is not a multiple of"))
    }
  }

  @Test func givenKeys() throws {
    let given = try GivenKeys(
      "seed: 0\ntask:\n  name: rte\n  epochs: null\n", file: "a.yaml", overrides: ["training.steps=5"])
    #expect(given.value("seed", \.seed) == 0 && given.value("training.steps", \.training.steps) == 5)
    #expect(given.value("task.name", \.task.name) == "rte")
    #expect(given.value("task.epochs", \.task.epochs) == nil)
    #expect(given.value("data.corpus", \.data.corpus) == nil)
    #expect(throws: ConfigurationError.self) {
      try GivenKeys("sed: 0\n", file: "a.yaml", overrides: [])
    }
  }

  @Test func aByteOrderMarkIsRead() throws {
    #expect(
      try RunConfiguration.parse("\u{FEFF}" + base, file: "a.yaml")
        == RunConfiguration.parse(base, file: "a.yaml"))
    // Lines are those that an editor shows.
    #expect(
      complaints("\u{FEFF}" + base.replacing("seed: 7", with: "seed: x")).first?.contains(":1: seed") == true)
  }

  /// YAML that nobody needs here is read as YAML says, or refused in one line; it never ends the program.
  @Test func oddYAML() throws {
    let anchored = changed("  every: 100", to: "  every: &n 100").replacing(
      "sequences: 128", with: "sequences: *n")
    #expect(try RunConfiguration.parse(anchored, file: "a.yaml").evaluation.sequences == 100)
    let wrong: [(String, String)] = [
      (base + "---\nseed: 8\n", "another document"),
      (changed("evaluation:", to: "evaluation:\n  <<: {every: 100}"), "merge keys are not read"),
      (base.replacing("seed: 7", with: "seed: *nowhere"), "undefined alias"),
      (
        changed("  layers: 2", to: "  layers: " + String(repeating: "9", count: 400)),
        "expected an integer from 1 to 1024"
      ),
      (changed("  layers: 2", to: "  layers: .inf"), "found .inf"),
      (changed("  dropout: 0.1", to: "  dropout: 1e400"), "found 1e400"),
      (changed("  dropout: 0.1", to: "  dropout: -.nan"), "found -.nan"),
      (changed("  corpus: corpus/demo", to: "  corpus: [a]"), "found a list"),
      (changed("seed: 7", to: "seed: \"a\\nb\""), "found \"a\\nb\""),
      (changed("seed: 7", to: "? [a, b]\n: 1\nseed: 7"), "a list: unknown key"),
      (String(repeating: "[", count: 300_000), "nothing here nests deep"),
      (String(repeating: "- ", count: 300_000), "nothing here nests deep"),
      (String(repeating: "{a: ", count: 300_000), "nothing here nests deep"),
      (String(repeating: "? ", count: 300_000), "nothing here nests deep"),
    ]
    for (text, message) in wrong {
      let found = complaints(text)
      #expect(found.count == 1 && found[0].contains(message), "\(found)")
    }
    #expect(
      complaints(base, overrides: ["seed=" + String(repeating: "[", count: 300_000)]).first?.contains(
        "not valid YAML")
        == true)
  }

  /// More numbers than a counter of 32 bits can tell apart.
  @Test func dropoutLimitsLongSequences() {
    let long = ["model.maximum_length=65536", "data.sequence_length=65536", "model.heads=8"]
    #expect(complaints(base, overrides: long) == [])
    let many = ["model.maximum_length=65536", "data.sequence_length=65536", "model.heads=64"]
    #expect(complaints(base, overrides: many).first?.contains("is more than dropout can serve") == true)
    #expect(complaints(base, overrides: many + ["model.dropout=0"]) == [])
  }

  @Test func allProblemsAreFoundInOnePass() {
    let text = changed("  layers: 2", to: "  layers: 0").replacingOccurrences(of: "  keep: 2\n", with: "")
      .replacingOccurrences(of: "seed: 7", with: "seed: x")
    #expect(
      complaints(text, overrides: ["training.stpes=3"]) == [
        "configs/demo.yaml:1: seed: expected an integer from 0 to 18446744073709551615, found x",
        "configs/demo.yaml:4: model.layers: expected an integer from 1 to 1024, found 0",
        "configs/demo.yaml:24: checkpoint.keep: missing; expected an integer from 1 to 1000000000",
        "--set training.stpes=3: unknown key; did you mean training.steps?",
      ])
  }

  @Test func whatIsNoConfigurationAtAll() {
    #expect(complaints("") == ["configs/demo.yaml: expected keys and values as in seed: 1, found nothing"])
    #expect(
      complaints("- 1\n") == ["configs/demo.yaml:1: expected keys and values as in seed: 1, found a list"])
    #expect(
      complaints("hello") == ["configs/demo.yaml:1: expected keys and values as in seed: 1, found hello"])
  }

  @Test func windowsLineEndsAreLineEnds() throws {
    let text = base.replacingOccurrences(of: "\n", with: "\r\n")
    let run = try RunConfiguration.parse(text, file: "a.yaml")
    #expect(try RunConfiguration.parse(base, file: "a.yaml") == run)
    let twice = text.replacingOccurrences(of: "  steps: 600", with: "  steps: 600\r\n  steps: 600")
    #expect(complaints(twice) == ["configs/demo.yaml:15: training.steps: given in line 14 already; keep one"])
  }

  @Test func unreadableFiles() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("bipft-\(UUID())").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    func complaint(_ file: String) -> String {
      do {
        _ = try RunConfiguration.load(file: file)
        return ""
      } catch {
        return error.description
      }
    }
    let hint = "--config wants a YAML file such as configs/demo.yaml"
    #expect(complaint(folder + "/a.yaml") == "\(folder)/a.yaml: No such file or directory; \(hint)")
    #expect(complaint(folder) == "\(folder): is not a file; \(hint)")
    try Data([0x73, 0x3A, 0x20, 0xFF]).write(to: URL(fileURLWithPath: folder + "/b.yaml"))
    #expect(
      complaint(folder + "/b.yaml") == "\(folder)/b.yaml: not UTF-8 text at byte 3; save the file as UTF-8")
    for encoding in [String.Encoding.utf16, .utf16LittleEndian, .utf16BigEndian] {
      try base.data(using: encoding)!.write(to: URL(fileURLWithPath: folder + "/c.yaml"))
      #expect(complaint(folder + "/c.yaml").contains("UTF-16 or binary; save the file as UTF-8"))
    }
    try Data(count: 2 << 20).write(to: URL(fileURLWithPath: folder + "/d.yaml"))
    #expect(complaint(folder + "/d.yaml").contains("2097152 bytes are no configuration"))
  }
}
