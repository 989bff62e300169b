import BinaryModel
import Collectives
import DurableFiles
import FileFormats

/// A value as it stands in the file or in an override.
struct ConfigurationScalar {
  let text: String
  /// Not in quotes, so `12`, `null` and `auto` mean a number, nothing and a choice.
  let isPlain: Bool

  var isNull: Bool { isPlain && Self.nulls.contains(text) }
  static let nulls = ["", "~", "null", "Null", "NULL"]
}

/// One key of the run configuration: its name, what it allows, and how it is read and written.
struct ConfigurationKey: Sendable {
  /// Section and name, as in `model.hidden_size`.
  let name: String
  /// The allowed values in words: "an integer from 1 to 4096".
  let allowed: String
  /// A key that is not required keeps its value in `RunConfiguration.unset`.
  let isRequired: Bool
  /// The value as YAML.
  let text: @Sendable (RunConfiguration) -> String
  /// Takes over the value, or returns false if it is not an allowed one.
  let set: @Sendable (inout RunConfiguration, ConfigurationScalar) -> Bool

  /// `model` of `model.hidden_size`; nil for a key that stands by itself.
  var section: String? { name.firstIndex(of: ".").map { String(name[..<$0]) } }
  /// `hidden_size` of `model.hidden_size`.
  var leaf: String { Self.leaf(of: name) }

  static func leaf(of name: String) -> String {
    name.firstIndex(of: ".").map { String(name[name.index(after: $0)...]) } ?? name
  }
}

extension ConfigurationKey {
  /// Keys that say how a run is kept and watched; none changes a number of its result.
  static let operational: Set = [
    "threads", "synchronisation", "lanes", "stop_after", "hang_timeout",
    "training.maximum_skipped_steps",
    "training.replica_check_every",
    "checkpoint.every", "checkpoint.keep", "checkpoint.keep_every", "checkpoint.keep_best",
  ]

  /// All keys, in the order in which they are written.
  static let all: [ConfigurationKey] = [
    integer("seed", \.seed, 0...UInt64.max),
    threads,
    choice("synchronisation", \.synchronisation),
    choice("gradient_format", \.gradientFormat),
    choice("lanes", \.lanes),
    stopAfter,
    integer("hang_timeout", \.hangTimeout, 0...1_000_000_000, isRequired: false),
    word("objective", \.objective),
    optionalPath("initial_weights", \.initialWeights),
    optionalPath("teacher", \.teacher),
    integer("model.hidden_size", \.model.hiddenSize, 1...65536),
    integer("model.layers", \.model.layers, 1...1024),
    integer("model.heads", \.model.heads, 1...1024),
    integer("model.intermediate_size", \.model.intermediateSize, 1...262_144),
    integer("model.maximum_length", \.model.maximumLength, 5...65536),
    integer("model.estimator_rank", \.model.estimatorRank, 0...1024),
    number("model.dropout", \.model.dropout, "a number from 0 to below 1") { 0 <= $0 && $0 < 1 },
    integer("model.linear_rank", \.model.linearRank, 0...1024, isRequired: false),
    choice("model.precision", \.model.precision),
    activationBits,
    choice("model.ffn_activation", \.model.feedForwardActivation),
    choice("model.step_size_fit", \.model.stepSizeFit),
    gradientWindow,
    choice("estimators.fit", \.estimators.fit),
    flag("estimators.per_head", \.estimators.perHead),
    path("data.corpus", \.data.corpus),
    integer("data.sequence_length", \.data.sequenceLength, 5...65536),
    optionalText("task.name", \.task.name, "the name of a task or null"),
    optionalText("task.text", \.task.text, "the name of a column or null"),
    optionalText("task.second_text", \.task.secondText, "the name of a column or null"),
    optionalText("task.label", \.task.label, "the name of a column or null"),
    optionalText("task.vocabulary", \.task.vocabulary, "a path or null"),
    optionalInteger("task.epochs", \.task.epochs, 1...1_000_000),
    optionalInteger("task.training_rows", \.task.trainingRows, 2...1_000_000_000),
    choice("task.pooling", \.task.pooling),
    optionalText("task.teacher", \.task.teacher, "a path or null"),
    choice("task.distillation", \.task.distillation),
    weight("sentence.cosine_weight", \.sentence.cosineWeight),
    weight("sentence.similarity_weight", \.sentence.similarityWeight),
    weight("sentence.hidden_weight", \.sentence.hiddenWeight),
    number(
      "sentence.temperature", \.sentence.temperature, "a number from 0 to 100",
      isRequired: false
    ) { 0 <= $0 && $0 <= 100 },
    optionalPath("sentence.evaluation", \.sentence.evaluation),
    integer("training.steps", \.training.steps, 0...1_000_000_000),
    integer("training.global_batch", \.training.globalBatch, 1...16_777_216),
    integer("training.micro_batch", \.training.microBatch, 1...65536),
    number("training.learning_rate", \.training.learningRate, "a number above 0 and up to 1") {
      0 < $0 && $0 <= 1
    },
    stepSizeLearningRate,
    integer("training.warmup_steps", \.training.warmupSteps, 0...1_000_000_000),
    choice("training.decay", \.training.decay),
    number("training.weight_decay", \.training.weightDecay, "a number from 0 to 1") { 0 <= $0 && $0 <= 1 },
    number("training.gradient_clip", \.training.gradientClip, "a number from 0 (no clipping) to 1000000") {
      0 <= $0 && $0 <= 1_000_000
    },
    choice("training.hidden_loss", \.training.hiddenLoss),
    backwardPrecision,
    integer(
      "training.maximum_skipped_steps", \.training.maximumSkippedSteps, 0...1_000_000_000, isRequired: false),
    number(
      "training.spike_z_score", \.training.spikeZScore, "a number from 0 (off) to 1000000", isRequired: false
    ) { 0 <= $0 && $0 <= 1_000_000 },
    integer(
      "training.replica_check_every", \.training.replicaCheckEvery, 0...1_000_000_000, isRequired: false),
    integer("evaluation.every", \.evaluation.every, 1...1_000_000_000),
    integer("evaluation.sequences", \.evaluation.sequences, 1...16_777_216),
    integer("evaluation.patience", \.evaluation.patience, 0...1_000_000_000, isRequired: false),
    integer("checkpoint.every", \.checkpoint.every, 1...1_000_000_000),
    integer("checkpoint.keep", \.checkpoint.keep, 1...1_000_000_000),
    integer("checkpoint.keep_every", \.checkpoint.keepEvery, 0...1_000_000_000, isRequired: false),
    flag("checkpoint.keep_best", \.checkpoint.keepBest),
  ]

  /// The sections in their order.
  static let sections: [String] = all.compactMap(\.section).reduce(into: []) { names, name in
    if names.last != name { names.append(name) }
  }

  /// The key called `name`, or nil.
  static func find(_ name: String) -> ConfigurationKey? { all.first { $0.name == name } }

  private static func integer<Value: FixedWidthInteger & Sendable>(
    _ name: String, _ place: WritableKeyPath<RunConfiguration, Value> & Sendable, _ range: ClosedRange<Value>,
    isRequired: Bool = true
  ) -> ConfigurationKey {
    ConfigurationKey(
      name: name, allowed: "an integer from \(range.lowerBound) to \(range.upperBound)",
      isRequired: isRequired,
      text: { "\($0[keyPath: place])" },
      set: { configuration, scalar in
        guard let value = plainInteger(scalar, in: range) else { return false }
        configuration[keyPath: place] = value
        return true
      })
  }

  private static func number(
    _ name: String, _ place: WritableKeyPath<RunConfiguration, Float> & Sendable, _ allowed: String,
    isRequired: Bool = true, _ isAllowed: @escaping @Sendable (Float) -> Bool
  ) -> ConfigurationKey {
    ConfigurationKey(
      name: name, allowed: allowed, isRequired: isRequired, text: { JSONText.number($0[keyPath: place]) },
      set: { configuration, scalar in
        guard let value = plainNumber(scalar), isAllowed(value) else { return false }
        configuration[keyPath: place] = value
        return true
      })
  }

  /// A weight of a loss, which may be left out.
  private static func weight(
    _ name: String, _ place: WritableKeyPath<RunConfiguration, Float> & Sendable
  ) -> ConfigurationKey {
    number(name, place, "a number from 0 to 1000000", isRequired: false) { 0 <= $0 && $0 <= 1_000_000 }
  }

  private static func path(
    _ name: String, _ place: WritableKeyPath<RunConfiguration, String> & Sendable
  ) -> ConfigurationKey {
    ConfigurationKey(
      name: name, allowed: "a path", isRequired: true, text: { pathText($0[keyPath: place]) },
      set: { configuration, scalar in
        guard !scalar.isNull, !scalar.text.isEmpty else { return false }
        configuration[keyPath: place] = scalar.text
        return true
      })
  }

  /// A key that may be left out and takes a name; whoever uses it knows which names there are.
  private static func word(
    _ name: String, _ place: WritableKeyPath<RunConfiguration, String> & Sendable
  ) -> ConfigurationKey {
    ConfigurationKey(
      name: name, allowed: "a name of letters, digits, - and _", isRequired: false,
      text: { $0[keyPath: place] },
      set: { configuration, scalar in
        let isName = scalar.text.allSatisfy {
          $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_")
        }
        guard isName, !scalar.text.isEmpty, !scalar.isNull else { return false }
        configuration[keyPath: place] = scalar.text
        return true
      })
  }

  private static func optionalPath(
    _ name: String, _ place: WritableKeyPath<RunConfiguration, String?> & Sendable
  ) -> ConfigurationKey { optionalText(name, place, "a path or null") }

  /// A key that may be left out and takes any text but an empty one.
  private static func optionalText(
    _ name: String, _ place: WritableKeyPath<RunConfiguration, String?> & Sendable, _ allowed: String
  ) -> ConfigurationKey {
    ConfigurationKey(
      name: name, allowed: allowed, isRequired: false,
      text: { $0[keyPath: place].map(pathText) ?? "null" },
      set: { configuration, scalar in
        guard scalar.isNull || !scalar.text.isEmpty else { return false }
        configuration[keyPath: place] = scalar.isNull ? nil : scalar.text
        return true
      })
  }

  private static let threads = ConfigurationKey(
    name: "threads", allowed: "auto or an integer from 1 to 4096", isRequired: false,
    text: { $0.threads.map { "\($0)" } ?? "auto" },
    set: { configuration, scalar in
      let count = plainInteger(scalar, in: 1...4096)
      guard scalar.text == "auto" || count != nil else { return false }
      configuration.threads = count
      return true
    })

  /// A key that may be left out and takes one of a few words.
  private static func choice<Value: CaseIterable & RawRepresentable<String> & Sendable>(
    _ name: String, _ place: WritableKeyPath<RunConfiguration, Value> & Sendable
  ) -> ConfigurationKey {
    ConfigurationKey(
      name: name, allowed: Value.allCases.map(\.rawValue).joined(separator: " or "), isRequired: false,
      text: { $0[keyPath: place].rawValue },
      set: { configuration, scalar in
        guard let value = Value(rawValue: scalar.text) else { return false }
        configuration[keyPath: place] = value
        return true
      })
  }

  /// A key that may be left out and takes true or false.
  private static func flag(
    _ name: String, _ place: WritableKeyPath<RunConfiguration, Bool> & Sendable
  ) -> ConfigurationKey {
    ConfigurationKey(
      name: name, allowed: "true or false", isRequired: false,
      text: { $0[keyPath: place] ? "true" : "false" },
      set: { configuration, scalar in
        guard scalar.isPlain, let value = Bool(scalar.text) else { return false }
        configuration[keyPath: place] = value
        return true
      })
  }

  /// A key that may be left out and takes a whole number or nothing.
  private static func optionalInteger(
    _ name: String, _ place: WritableKeyPath<RunConfiguration, Int?> & Sendable, _ range: ClosedRange<Int>
  ) -> ConfigurationKey {
    ConfigurationKey(
      name: name, allowed: "an integer from \(range.lowerBound) to \(range.upperBound) or null",
      isRequired: false,
      text: { $0[keyPath: place].map { "\($0)" } ?? "null" },
      set: { configuration, scalar in
        let value = plainInteger(scalar, in: range)
        guard scalar.isNull || value != nil else { return false }
        configuration[keyPath: place] = value
        return true
      })
  }

  private static let stopAfter = ConfigurationKey(
    name: "stop_after", allowed: "null, seconds, or a time such as 23h30m", isRequired: false,
    text: { $0.stopAfter.map { "\($0)" } ?? "null" },
    set: { configuration, scalar in
      let seconds = scalar.isNull ? nil : wallTime(scalar.text)
      guard scalar.isNull || seconds != nil else { return false }
      configuration.stopAfter = seconds
      return true
    })

  /// Seconds of `84600`, `23h30m`, `1d` or `90m30s`; nil for anything else, nothing, or more than 100 years.
  private static func wallTime(_ text: String) -> Int? {
    let units: [Character: Int] = ["d": 86_400, "h": 3_600, "m": 60, "s": 1]
    let longest = 3_153_600_000
    if let seconds = Int(text) { return (1...longest).contains(seconds) ? seconds : nil }
    var (total, digits, last) = (0, "", Int.max)
    for character in text {
      if let unit = units[character] {
        // Larger units first, each once.
        guard unit < last, let value = Int(digits), value <= longest else { return nil }
        total += value * unit
        (digits, last) = ("", unit)
      } else if character.isASCII && character.isNumber {
        digits.append(character)
      } else {
        return nil
      }
    }
    return digits.isEmpty && (1...longest).contains(total) ? total : nil
  }

  private static let activationBits = ConfigurationKey(
    name: "model.activation_bits", allowed: "1, 2, 4 or 8", isRequired: false,
    text: { String($0.model.activationBits) },
    set: { configuration, scalar in
      guard let bits = plainInteger(scalar, in: 1...8), [1, 2, 4, 8].contains(bits) else { return false }
      configuration.model.activationBits = bits
      return true
    })

  private static let gradientWindow = ConfigurationKey(
    name: "model.gradient_window", allowed: "step_size or a number above 0 and up to 1000", isRequired: false,
    text: {
      switch $0.model.gradientWindow {
      case .stepSize: "step_size"
      case .means(let factor): JSONText.number(factor)
      }
    },
    set: { configuration, scalar in
      if scalar.text == "step_size" {
        configuration.model.gradientWindow = .stepSize
        return true
      }
      guard let factor = plainNumber(scalar), 0 < factor && factor <= 1000 else { return false }
      configuration.model.gradientWindow = .means(factor)
      return true
    })

  private static let stepSizeLearningRate = ConfigurationKey(
    name: "training.step_size_learning_rate", allowed: "a number from 0 to 1 or null", isRequired: false,
    text: { $0.training.stepSizeLearningRate.map(JSONText.number) ?? "null" },
    set: { configuration, scalar in
      let value = plainNumber(scalar)
      guard scalar.isNull || value.map({ 0 <= $0 && $0 <= 1 }) == true else { return false }
      configuration.training.stepSizeLearningRate = value
      return true
    })

  private static let backwardPrecision = ConfigurationKey(
    name: "training.backward_precision",
    allowed: BackwardPrecision.allCases.map(\.rawValue).joined(separator: " or "),
    isRequired: false,
    text: { $0.training.backwardPrecision.rawValue },
    set: { configuration, scalar in
      guard let value = BackwardPrecision(rawValue: scalar.text) else { return false }
      configuration.training.backwardPrecision = value
      return true
    })

  private static func plainNumber(_ scalar: ConfigurationScalar) -> Float? {
    // Digits, sign, point and exponent only: Float() also reads hexadecimal, infinities and NaN.
    guard scalar.isPlain, scalar.text.allSatisfy({ "+-.0123456789eE".contains($0) }) else { return nil }
    return Float(scalar.text)
  }

  private static func plainInteger<Value: FixedWidthInteger>(
    _ scalar: ConfigurationScalar, in range: ClosedRange<Value>
  ) -> Value? {
    guard scalar.isPlain, let value = Value(scalar.text), range.contains(value) else { return nil }
    return value
  }

  /// A path stands without quotes only where YAML cannot take it for anything else.
  private static func pathText(_ path: String) -> String {
    let isSimple = path.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "/._-".contains($0)) }
    let startsSimply = path.first.map { $0.isLetter || $0 == "/" || $0 == "." } ?? false
    return isSimple && startsSimply && !ConfigurationScalar.nulls.contains(path)
      ? path : JSONText.quoted(path)
  }
}

extension RunConfiguration {
  /// What is trained for where nothing is said.
  public static let defaultObjective = "pretraining"

  /// Before anything is read: the defaults of the keys that may be left out, and placeholders of the others.
  static let unset = RunConfiguration(
    seed: 0, threads: nil, synchronisation: .sharded, gradientFormat: .int32, lanes: .fixed, stopAfter: nil,
    hangTimeout: 600, objective: defaultObjective, initialWeights: nil, teacher: nil,
    model: Model(
      hiddenSize: 0, layers: 0, heads: 0, intermediateSize: 0, maximumLength: 0, estimatorRank: 0, dropout: 0,
      linearRank: 0, precision: .binary, activationBits: 1, feedForwardActivation: .gelu,
      stepSizeFit: .published, gradientWindow: .stepSize),
    estimators: Estimators(fit: .gradient, perHead: false),
    data: Data(corpus: "", sequenceLength: 0),
    task: Task(
      name: nil, text: nil, secondText: nil, label: nil, vocabulary: nil, epochs: nil, trainingRows: nil,
      pooling: .first, teacher: nil, distillation: .both),
    sentence: Sentence(
      cosineWeight: 1, similarityWeight: 1, hiddenWeight: 1, temperature: 0.05, evaluation: nil),
    training: Training(
      steps: 0, globalBatch: 0, microBatch: 0, learningRate: 0, stepSizeLearningRate: nil, warmupSteps: 0,
      decay: .linear, weightDecay: 0,
      gradientClip: 0, hiddenLoss: .mean, backwardPrecision: .float32, maximumSkippedSteps: 10,
      spikeZScore: 0,
      replicaCheckEvery: 100),
    evaluation: Evaluation(every: 0, sequences: 0, patience: 0),
    checkpoint: Checkpoint(every: 0, keep: 0, keepEvery: 0, keepBest: false))
}
