import Foundation
import Testing

/// What is wrong gets one clear line and exit code 78, from one rank or many, and leaves nothing half-written.
@Suite(.serialized) struct BadInputTests {
  /// Our error lines: the greeting and progress may come before them, and mpirun adds its own notice after them.
  private func lines(_ outcome: Program.Outcome) -> [String] {
    outcome.errors.split(separator: "\n").map(String.init).filter {
      $0.hasPrefix("bipft") && !$0.contains(": starting: ") && !$0.contains(": preflight: ")
    }
  }

  private func expectRefusal(
    _ outcome: Program.Outcome, _ message: String, code: Int32 = 78,
    location: SourceLocation = #_sourceLocation
  ) {
    #expect(outcome.code == code, "\(outcome.errors)", sourceLocation: location)
    #expect(lines(outcome).count == 1, "\(outcome.errors)", sourceLocation: location)
    #expect(lines(outcome).first?.contains(message) == true, "\(outcome.errors)", sourceLocation: location)
    #expect(!outcome.errors.contains("Fatal error"), sourceLocation: location)
  }

  @Test(arguments: [nil, 3]) func ofARun(ranks: Int?) throws {
    let tiny = try TinyRun()
    let scratch = tiny.scratch
    func run(_ name: String, _ more: [String]) throws -> Program.Outcome {
      try Program.pretrain(tiny.arguments(name, more), ranks: ranks)
    }
    expectRefusal(try run("a", ["--set", "data.corpus=\(scratch.path("none"))"]), "none")
    expectRefusal(try run("a", ["--set", "model.hiden_size=3"]), "did you mean model.hidden_size?")
    expectRefusal(try run("a", ["--resume", scratch.path("nowhere")]), "nowhere")
    #expect(!FileManager.default.fileExists(atPath: scratch.path("a/metrics.jsonl")))

    // A folder that holds something else.
    try FileManager.default.createDirectory(atPath: scratch.path("other"), withIntermediateDirectories: true)
    try scratch.write("other/notes.txt", "mine")
    expectRefusal(try run("other", []), "it holds notes.txt")
    #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path("other")) == ["notes.txt"])

    // A checkpoint of another model, and of another configuration.
    #expect(try run("b", ["--set", "training.steps=2"]).code == 0)
    let before = try tiny.weights("b", step: 2)
    expectRefusal(
      try run("b", ["--set", "training.steps=2", "--set", "model.hidden_size=48"]),
      "model.hidden_size is 24 there and 48 here")
    expectRefusal(
      try run("b", ["--set", "training.steps=2", "--set", "training.learning_rate=0.5"]),
      "--allow-change training.learning_rate")
    expectRefusal(
      try run("b", ["--set", "training.steps=2", "--resume", "none"]), "choose another --run-dir")
    #expect(try tiny.weights("b", step: 2) == before)
    #expect(
      try run(
        "b", ["--set", "training.steps=4", "--allow-change", "training.steps"]
      ).code == 0)

    // A truncated shard.
    let shard = try scratch.bytes("corpus/train-00000.bin")
    try shard.dropLast(10).write(to: URL(fileURLWithPath: scratch.path("corpus/train-00000.bin")))
    expectRefusal(try run("c", []), "train-00000.bin")
    #expect(!FileManager.default.fileExists(atPath: scratch.path("c")))
  }

  @Test func moreRanksThanLanes() throws {
    let tiny = try TinyRun()
    expectRefusal(
      try Program.pretrain(tiny.arguments("a", ["--set", "training.global_batch=4"]), ranks: 3),
      "use 1 to 2 ranks")
    #expect(!FileManager.default.fileExists(atPath: tiny.scratch.path("a")))
  }

  @Test func ofACorpus() throws {
    let tiny = try TinyRun()
    let scratch = tiny.scratch
    func build(_ input: String, vocabulary: String = "vocab.txt", output: String = "out") throws
      -> Program.Outcome
    {
      try Program.bipft([
        "corpus", "build", "--input", scratch.path(input), "--vocab", scratch.path(vocabulary), "--output",
        scratch.path(output),
      ])
    }
    expectRefusal(try build("missing.txt"), "missing.txt")
    try scratch.write("empty.txt", "")
    expectRefusal(try build("empty.txt"), "empty.txt")
    try Data([0x61, 0x62, 0xFF, 0x0A]).write(to: URL(fileURLWithPath: scratch.path("latin.txt")))
    let invalid = try build("latin.txt")
    expectRefusal(invalid, "latin.txt")
    #expect(invalid.errors.contains("byte 2") || invalid.errors.contains("offset 2"), "\(invalid.errors)")
    let tokens = try scratch.text("vocab.txt").replacing("[MASK]\n", with: "")
    try scratch.write("unmasked.txt", tokens)
    expectRefusal(try build("text.txt", vocabulary: "unmasked.txt"), "[MASK]")
    try FileManager.default.createDirectory(atPath: scratch.path("other"), withIntermediateDirectories: true)
    try scratch.write("other/notes.txt", "mine")
    expectRefusal(try build("text.txt", output: "other"), "notes.txt")
    #expect(!FileManager.default.fileExists(atPath: scratch.path("out")))
  }

  /// On a tiny file system; needs root.
  @Test(.enabled("SKIPPED: a tmpfs cannot be mounted here") { Program.canMount }) func aFullDisk() throws {
    let tiny = try TinyRun()
    let scratch = tiny.scratch
    try FileManager.default.createDirectory(atPath: scratch.path("small"), withIntermediateDirectories: true)
    let mounted = try Program.run(
      "/bin/mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", scratch.path("small")])
    try #require(mounted.code == 0, "\(mounted.errors)")
    defer { _ = try? Program.run("/bin/umount", [scratch.path("small")]) }
    let outcome = try Program.pretrain(tiny.arguments("small/run", ["--set", "training.steps=2"]), ranks: 2)
    expectRefusal(outcome, "No space left on device", code: 70)
    let left = try FileManager.default.subpathsOfDirectory(atPath: scratch.path("small"))
    #expect(!left.contains { $0.contains("step-") }, "\(left)")
    let corpus = try Program.bipft([
      "corpus", "build", "--input", Program.package.path + "/configs/demo-text/books.txt", "--vocab",
      Program.package.path + "/configs/vocab/vocab.txt", "--output", scratch.path("small/corpus"),
    ])
    expectRefusal(corpus, "No space left on device", code: 70)
    #expect(try !FileManager.default.contentsOfDirectory(atPath: scratch.path("small")).contains("corpus"))
  }
}
