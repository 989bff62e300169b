import Foundation

/// A corpus and a configuration so small that a run takes a second: 8 lanes, 11 steps an epoch or so.
struct TinyRun {
  let scratch: Scratch

  init() throws {
    scratch = try Scratch()
    try scratch.write("text.txt", Self.text(documents: 40))
    try scratch.write("vocab.txt", Self.vocabulary)
    try scratch.write("tiny.yaml", Self.configuration(corpus: scratch.path("corpus")))
    let built = try Program.bipft([
      "corpus", "build", "--input", scratch.path("text.txt"), "--vocab", scratch.path("vocab.txt"),
      "--output",
      scratch.path("corpus"), "--held-out", "0.1",
    ])
    precondition(built.code == 0, built.errors)
  }

  /// The arguments of a run in the folder `run`.
  func arguments(_ run: String, _ more: [String] = []) -> [String] {
    ["--config", scratch.path("tiny.yaml"), "--run-dir", scratch.path(run)] + more
  }

  /// The metrics of a run without the measured rates, which differ between any two runs.
  func metrics(_ run: String) throws -> [String] {
    try scratch.text(run + "/metrics.jsonl").split(separator: "\n").map { line in
      let fields = line.dropFirst().dropLast().split(separator: ", ")
      return fields.filter {
        !$0.contains("tokens_per_second")
      }
      .joined(separator: ", ")
    }
  }

  /// The integers called `key` in the measurements of a run, a step after the other.
  func measured(_ run: String, _ key: String) throws -> [Int] {
    try scratch.text(run + "/measurements.jsonl").split(separator: "\n").compactMap { line in
      line.split(separator: ", ").first { $0.contains("\"\(key)\": ") }
        .flatMap { Int($0.drop { !$0.isNumber }.prefix { $0.isNumber }) }
    }
  }

  func weights(_ run: String, step: Int) throws -> Data {
    let digits = String(step)
    let name = "step-" + String(repeating: "0", count: 8 - digits.count) + digits
    return try scratch.bytes(run + "/checkpoints/\(name)/model.safetensors")
  }

  private static let words = [
    "the", "a", "river", "house", "king", "queen", "old", "young", "saw", "heard", "walked", "to", "from",
    "with",
    "night", "day", "said", "nothing", "and", "then", "light", "dark", "garden", "road", "horse",
  ]

  private static let vocabulary =
    (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "."] + words).joined(separator: "\n") + "\n"

  /// Sentences by a fixed recurrence.
  private static func text(documents: Int) -> String {
    var state: UInt32 = 12_345
    func next(_ bound: Int) -> Int {
      state = state &* 1_664_525 &+ 1_013_904_223
      return Int(state >> 16) % bound
    }
    return (0..<documents).map { _ in
      (0..<12 + next(12)).map { _ in
        let sentence = (0..<4 + next(6)).map { _ in words[next(words.count)] }.joined(separator: " ")
        return sentence.prefix(1).uppercased() + sentence.dropFirst() + "."
      }.joined(separator: " ")
    }.joined(separator: "\n\n") + "\n"
  }

  private static func configuration(corpus: String) -> String {
    """
    seed: 7
    threads: 1
    model:
      hidden_size: 24
      layers: 2
      heads: 3
      intermediate_size: 40
      maximum_length: 32
      estimator_rank: 1
      dropout: 0.1
    data:
      corpus: \(corpus)
      sequence_length: 32
    training:
      steps: 24
      global_batch: 16
      micro_batch: 2
      learning_rate: 1e-3
      warmup_steps: 4
      weight_decay: 0.01
      gradient_clip: 1.0
    evaluation:
      every: 6
      sequences: 9
    checkpoint:
      every: 8
      keep: 2

    """
  }
}
