import Foundation
import Telemetry
import Testing

/// What a run leaves for people to look at, and `bipft report`.
@Suite struct ReportTests {
  private func page(_ arguments: [String], _ tiny: TinyRun) throws -> String {
    let path = tiny.scratch.path("report.html")
    let result = try Program.bipft(["report"] + arguments + ["--output", path])
    try #require(result.code == 0, "\(result.errors)")
    return try String(contentsOfFile: path, encoding: .utf8)
  }

  /// Vital signs do not depend on ranks, and going on leaves none twice; a page has all of it; events can be made anew.
  @Test func aRunThatGoesOn() throws {
    let tiny = try TinyRun()
    let settings = [
      "--set", "training.steps=12", "--set", "evaluation.every=3", "--set", "checkpoint.every=2", "--set",
      "checkpoint.keep=9",
    ]
    for (name, ranks) in [("one", 1), ("three", 3)] {
      let run = try Program.pretrain(tiny.arguments(name, settings), ranks: ranks)
      try #require(run.code == 0, "\(run.errors)")
      #expect(run.errors.contains("  mean ") && run.errors.contains("  saved "), "\(run.errors)")
    }
    let expected = try tiny.scratch.text("one/vitals.jsonl")
    #expect(try tiny.scratch.text("three/vitals.jsonl") == expected)
    let steps = try VitalsFile.all(path: tiny.scratch.path("one/vitals.jsonl")).map(\.step)
    #expect(steps == [0, 3, 6, 9, 12])
    // Back to step 4, in silence. The first flips a job sees are unknown.
    let again = try Program.pretrain(
      tiny.arguments(
        "one", settings + ["--quiet", "--resume", tiny.scratch.path("one/checkpoints/step-00000004")]),
      ranks: 2)
    #expect(again.code == 0 && again.errors.isEmpty && again.output.isEmpty, "\(again)")
    let found = try VitalsFile.all(path: tiny.scratch.path("one/vitals.jsonl"))
    #expect(found.map(\.step) == [0, 3, 6, 9, 12] && found[2].flipped == nil && found[3].flipped != nil)
    #expect(
      found[4].distances == (try VitalsFile.all(path: tiny.scratch.path("three/vitals.jsonl")))[4].distances)
    // From a step that was evaluated the flips are known at once.
    let last = try Program.pretrain(
      tiny.arguments("one", settings + ["--resume", tiny.scratch.path("one/checkpoints/step-00000006")]))
    try #require(last.code == 0, "\(last.errors)")
    let lines = { (text: String) in text.split(separator: "\n").map(String.init) }
    #expect(try lines(tiny.scratch.text("one/vitals.jsonl"))[3...] == lines(expected)[3...])
    let log = try tiny.scratch.text("one/log.txt")
    #expect(
      log.contains("rank=0 step=12 ") && log.contains("going on from") && log.contains("state finished")
        && log.contains("are set aside"))
    #expect(try tiny.scratch.text("one/metrics.prom").contains("bipft_step{run=\"one\"} 12\n"))

    let host = try #require(log.firstRange(of: "host=").map { log[$0.upperBound...].prefix { $0 != " " } })
    let text = try page([tiny.scratch.path("one"), tiny.scratch.path("three")], tiny)
    for part in [
      "<svg", "mlm loss", "share of signs that flipped", "Where the time goes", "step-00000012", "</html>",
    ] {
      #expect(text.contains(part), "\(part)")
    }
    #expect(
      text.contains("<th>corpus</th><td>") && text.contains(" documents; SHA-256 ")
        && text.contains("<th>machines of the last start</th><td>\(host)</td>"))
    #expect(text.contains("aria-label=\"loss over steps: one, training from "))
    #expect(!text.contains("<script") && !text.contains("http"))
    #expect(!text.contains("class=\"problem\"") && text.contains("(0 keys)"))
    let rebuilt = try Program.bipft(["report", "--rebuild-events", tiny.scratch.path("one")])
    #expect(rebuilt.code == 0 && rebuilt.output.contains("made anew of 17 records"), "\(rebuilt)")
    // Measurements too: of each of the 12 steps one, though some were done three times.
    let folder = tiny.scratch.path("one/events")
    let names = try FileManager.default.contentsOfDirectory(atPath: folder)
    let events = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(names[0])"))
    for (tag, count) in [("measured/forward_seconds", 12), ("train/loss", 12), ("eval/loss", 5)] {
      let found = String(decoding: events, as: Unicode.ASCII.self).components(separatedBy: tag).count - 1
      #expect(found == count, "\(tag): \(found)")
    }
  }

  /// What differs is marked; damage is told and left out; no run is an error.
  @Test func brokenInput() throws {
    let tiny = try TinyRun()
    for (name, rate) in [("a", "1e-3"), ("b", "2e-3")] {
      let run = try Program.pretrain(
        tiny.arguments(name, ["--set", "training.steps=4", "--set", "training.learning_rate=\(rate)"]))
      try #require(run.code == 0, "\(run.errors)")
    }
    let metrics = tiny.scratch.path("b/metrics.jsonl")
    var lines = try String(contentsOfFile: metrics, encoding: .utf8).split(separator: "\n").map(String.init)
    lines[1] = "half a li"
    lines[2] = lines[2].replacingOccurrences(
      of: #""gradient_norm": [0-9.e-]+"#, with: "\"gradient_norm\": \"NaN\"", options: .regularExpression)
    try (lines.joined(separator: "\n") + "\n{\"kind\": \"tr").write(
      toFile: metrics, atomically: false, encoding: .utf8)
    try FileManager.default.removeItem(atPath: tiny.scratch.path("b/vitals.jsonl"))
    let text = try page([tiny.scratch.path("a"), tiny.scratch.path("b")], tiny)
    #expect(text.contains("b: 1 lines of metrics.jsonl cannot be read and are left out"))
    #expect(text.contains("b: 1 values are not finite: gaps of the curves"))
    #expect(
      text.contains("(1 keys)") && text.contains("<tr class=\"differs\"><th>training.learning_rate</th>"))
    for (arguments, code, message) in [
      (["report", tiny.scratch.path("none"), "--output", "x"], 78, "holds no metrics.jsonl"),
      (["report"], 64, "name the folder of a run"),
      (["report", tiny.scratch.path("a")], 64, "--output report.html"),
      (["report", "--rebuild-events", tiny.scratch.path("none")], 78, "config.yaml"),
    ] {
      let result = try Program.bipft(arguments)
      #expect(result.code == code && result.errors.contains(message), "\(arguments): \(result)")
    }
  }

  /// Views that cannot be written are one warning each, and the run ends as it would.
  @Test func viewsNeverEndARun() throws {
    let tiny = try TinyRun()
    let first = try Program.pretrain(tiny.arguments("r", ["--set", "training.steps=2"]))
    try #require(first.code == 0, "\(first.errors)")
    // A file where a folder should be, and folders where files should be.
    for name in ["r/log.txt", "r/metrics.prom", "r/events", "r/vitals.jsonl"] {
      try FileManager.default.removeItem(atPath: tiny.scratch.path(name))
    }
    for name in ["r/log.txt", "r/metrics.prom", "r/vitals.jsonl"] {
      try FileManager.default.createDirectory(
        atPath: tiny.scratch.path(name), withIntermediateDirectories: true)
    }
    try tiny.scratch.write("r/events", "no folder")
    let run = try Program.pretrain(
      tiny.arguments("r", ["--set", "training.steps=5", "--allow-change", "training.steps"]))
    #expect(run.code == 0, "\(run.errors)")
    for part in ["without its log", "without vital signs", "without events for TensorBoard", "metrics.prom"] {
      #expect(run.errors.components(separatedBy: part).count == 2, "\(part): \(run.errors)")
    }
    #expect(try tiny.metrics("r").count == 8)
  }
}
