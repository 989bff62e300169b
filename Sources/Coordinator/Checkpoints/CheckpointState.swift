import Parameters

/// What defines a run, as digests and texts: resuming with another value of any of it is refused.
public struct RunIdentity: Codable, Equatable, Sendable {
  /// Digest of the corpus.
  public var corpus: String
  /// Digest of the vocabulary.
  public var vocabulary: String
  /// `Schedule.digest`.
  public var schedule: String
  /// The configuration keys that define the run (`training.learning_rate`), each with its value as text. Those that do
  /// not (threads, intervals, paths) stay out.
  public var configuration: [String: String]

  public init(corpus: String, vocabulary: String, schedule: String, configuration: [String: String]) {
    self.corpus = corpus
    self.vocabulary = vocabulary
    self.schedule = schedule
    self.configuration = configuration
  }

  /// The first difference to `current`, but for the fields in `allowed`: configuration keys first, in alphabetical order,
  /// since a changed key often explains a changed digest.
  func difference(
    to current: RunIdentity, allowing allowed: Set<String>
  ) -> (field: String, stored: String, current: String)? {
    for key in Set(configuration.keys).union(current.configuration.keys).sorted() {
      let (old, new) = (configuration[key] ?? "(not set)", current.configuration[key] ?? "(not set)")
      // Gradients of earlier releases were no integers; a run of theirs goes on with any.
      if key == "gradient_format", !["int32", "int16"].contains(old) { continue }
      if old != new, !allowed.contains(key) { return (key, old, new) }
    }
    let digests = [
      ("vocabulary", vocabulary, current.vocabulary), ("corpus", corpus, current.corpus),
      ("schedule", schedule, current.schedule),
    ]
    return digests.first { $0.1 != $0.2 && !allowed.contains($0.0) }
  }
}

/// The most steps of a run that a file of ours may name.
let maximumStep = 1 << 48

/// `state.json` of a checkpoint: all of a run's state that is not a tensor.
public struct CheckpointState: Codable, Equatable, Sendable {
  public static let currentVersion = 1

  public let version: Int
  /// Optimizer steps done; the next is step `step` counted from 0.
  public let step: Int
  /// Ranks that wrote it; any other number can read it.
  public let worldSize: Int
  public let identity: RunIdentity
  /// The sizes of the model by their configuration key.
  public let model: [String: Int]
  /// The resolved configuration, whole.
  public let configurationText: String
  /// `Schedule.history` after `step` steps.
  public let sampleHistory: String
  /// Further values of the training loop, by name.
  public let values: [String: String]
  /// The powers of two of which the integers of gradients are multiples (`GradientSum.powers`); nil in checkpoints of earlier releases.
  public let gradientPowers: String?
  /// What computed the step; nil in checkpoints of earlier releases.
  public let arithmetic: Arithmetic?

  public init(
    step: Int, worldSize: Int, identity: RunIdentity, sizes: [String: Int], configurationText: String,
    sampleHistory: String, values: [String: String] = [:], gradientPowers: String? = nil,
    arithmetic: Arithmetic? = nil
  ) {
    version = Self.currentVersion
    self.step = step
    self.worldSize = worldSize
    self.identity = identity
    model = sizes
    self.configurationText = configurationText
    self.sampleHistory = sampleHistory
    self.values = values
    self.gradientPowers = gradientPowers
    self.arithmetic = arithmetic
  }

  /// The sizes that differ from `own`, as "model.layers is 12 there and 6 here", nil if there are none.
  func sizeDifferences(to own: [String: Int]) -> String? {
    let differences = own.keys.sorted().compactMap { key in
      model[key].flatMap { $0 == own[key] ? nil : "\(key) is \($0) there and \(own[key] ?? 0) here" }
    }
    return differences.isEmpty ? nil : differences.joined(separator: ", ")
  }

  /// Refuses to go on with a run that is defined differently.
  ///
  /// - Parameter allowed: fields whose change was explicitly permitted: configuration keys, or `corpus`, `vocabulary`,
  ///   `schedule`.
  /// - Throws: `CheckpointError.changed`, which names the field, both values and the option that permits it.
  public func check(
    against current: RunIdentity, allowing allowed: Set<String> = [], checkpoint: String
  ) throws(CheckpointError) {
    if let (field, stored, now) = identity.difference(to: current, allowing: allowed) {
      throw .changed(checkpoint: checkpoint, field: field, stored: stored, current: now)
    }
  }
}
