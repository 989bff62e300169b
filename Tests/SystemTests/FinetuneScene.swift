import Foundation
import Telemetry
import Testing

/// A tiny pretrained run in `base`, and tables whose classes some words tell.
struct FinetuneScene {
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
