import Foundation
import Testing

/// The arguments of `bipft-pretrain`, before any training.
@Suite struct PretrainArgumentsTests {
  private static let hint = " (bipft-pretrain --help explains the arguments)"

  @Test(arguments: [
    (
      ["--config", "configs/demo.yaml", "--ranks", "3"],
      "--ranks needs --dry-run; mpirun -n sets the ranks of a run\(hint)"
    ),
    (["--config", "configs/demo.yaml", "--dry-run", "--ranks", "0"], "--ranks 0: use 1 or more\(hint)"),
    (["--config", "configs/demo.yaml", "--link-gbit", "1"], "--link-gbit needs --dry-run\(hint)"),
    (
      ["--config", "configs/demo.yaml", "--dry-run", "--link-gbit", "0"],
      "--link-gbit 0.0: use a number above 0\(hint)"
    ),
    (
      ["--config", "configs/demo.yaml", "--dry-run", "--link-gbit", "1", "--link-latency-us=-1"],
      "--link-latency-us -1.0: use a number of 0 or more\(hint)"
    ),
    (
      ["--config", "configs/demo.yaml", "--dry-run", "--core-tokens-per-second", "10"],
      "--core-tokens-per-second needs --link-gbit\(hint)"
    ),
    (
      ["--config", "configs/demo.yaml", "--resume", ""],
      "--resume is empty: use auto, none, latest or the path of a checkpoint\(hint)"
    ),
    (
      ["--config", "none.yaml"],
      "none.yaml: No such file or directory; --config wants a YAML file such as configs/demo.yaml"
    ),
    (
      ["--config", "configs/demo.yaml", "--set", "training.step=3"],
      "--set training.step=3: unknown key; did you mean training.steps?"
    ),
    (
      ["--config", "configs/demo.yaml", "--dry-run", "--ranks", "9"],
      "9 ranks do not fit 8 lanes (training.global_batch 32 / training.micro_batch 4): use 1 to 8 ranks"
    ),
  ])
  func wrongArgumentsGetOneLine(_ arguments: [String], _ message: String) throws {
    let result = try Program.pretrain(arguments)
    #expect(result.code == 78)
    #expect(result.output == "")
    #expect(result.errors == "bipft-pretrain: \(message)\n")
  }

  /// Without arguments the demo runs: its configuration, its corpus made on the spot, in the run folder of quickstart.sh.
  @Test func withoutConfigurationTheDemoRuns() throws {
    let scratch = try Scratch()
    let nothing = try Program.pretrain([], ranks: 2, folder: scratch.folder)
    #expect(nothing.code == 78)
    let lines = nothing.errors.split(separator: "\n").filter { $0.hasPrefix("bipft") }
    #expect(lines.count == 1, "\(nothing.errors)")
    for word in ["configs/demo.yaml: not here", "scripts/quickstart.sh", "--config FILE"] {
      #expect(lines.first?.contains(word) == true, "\(nothing.errors)")
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.folder).isEmpty)

    // A clone, as far as the demo needs it; one step of it.
    try FileManager.default.createSymbolicLink(
      atPath: scratch.path("configs"), withDestinationPath: Program.package.path + "/configs")
    let short = ["--set", "training.steps=1", "--set", "evaluation.sequences=8"]
    let demo = try Program.pretrain(short, ranks: 2, folder: scratch.folder)
    #expect(demo.code == 0, "\(demo.errors)")
    #expect(demo.errors.contains("bipft-pretrain: made corpus/demo of configs/demo-text/books.txt\n"))
    #expect(FileManager.default.fileExists(atPath: scratch.path("runs/demo/metrics.jsonl")))

    // It is the corpus that the script makes, which takes it as it is, and so does the next start.
    let script = try Program.bipft(["corpus", "demo"], folder: scratch.folder)
    #expect(script.code == 0 && script.output == "corpus/demo is up to date\n", "\(script.errors)")
    let again = try Program.pretrain(short, ranks: 2, folder: scratch.folder)
    #expect(again.code == 0 && !again.errors.contains("made corpus"), "\(again.errors)")
    let named = try Program.pretrain(
      short + ["--config", "configs/demo.yaml", "--run-dir", "named"], folder: scratch.folder)
    #expect(named.code == 0, "\(named.errors)")
    func weights(_ run: String) throws -> Data {
      try scratch.bytes(run + "/checkpoints/step-00000001/model.safetensors")
    }
    #expect(try weights("named") == weights("runs/demo"))

    // Made of something else, it is made again.
    try scratch.write("corpus/demo.inputs", "held-out 0.1\n")
    let stale = try Program.bipft(["corpus", "demo"], folder: scratch.folder)
    #expect(stale.code == 0 && stale.output.hasPrefix("corpus in corpus/demo\n"), "\(stale.errors)")
  }

  @Test func onlyTheFirstRankSpeaks() throws {
    let wrong = try Program.pretrain(["--bad"], environment: ["OMPI_COMM_WORLD_RANK": "1"])
    #expect(wrong.code == 78 && wrong.output == "" && wrong.errors == "")
    let help = try Program.pretrain(["--help"], environment: ["OMPI_COMM_WORLD_RANK": "1"])
    #expect(help.code == 0 && help.output == "" && help.errors == "")
  }

  @Test func helpExplainsOptionsAndExitCodes() throws {
    let help = try Program.pretrain(["--help"])
    #expect(help.code == 0 && help.errors == "")
    for word in [
      "mpirun -n 8", "--config", "--run-dir", "--set", "--resume", "--dry-run", "  75  ", "  78  ",
    ] {
      #expect(help.output.contains(word))
    }
  }

  @Test func aDryRunEstimatesTheStepWhenAsked() throws {
    let tiny = try TinyRun()
    let plan = tiny.arguments("a", ["--dry-run", "--ranks", "8"])
    let link = ["--link-gbit", "1", "--link-latency-us", "0"]
    let plain = try Program.pretrain(plan)
    #expect(plain.code == 0 && !plain.output.contains("estimate of a step"))
    let estimate = try Program.pretrain(plan + link + ["--core-tokens-per-second", "2000"])
    #expect(estimate.code == 0, "\(estimate.errors)")
    let lines = estimate.output.split(separator: "\n").map(String.init)
    #expect(estimate.output.hasPrefix(plain.output))
    #expect(lines.contains("estimate of a step: 8 ranks of 1 thread on 1 host, 1 Gbit/s and 0 µs a host"))
    #expect(lines.contains { $0.hasPrefix("one core: 2,000 tokens/s forward and backward (given); ") })
    for name in ["replicated, int32", "sharded, int32", "sharded, int16"] {
      let row = lines.first { $0.hasPrefix(name) }?.dropFirst(name.count).split(separator: " ")
      #expect(row?.count == 7, "\(estimate.output)")
      // One lane of 2 × 32 tokens, and the rounding of its gradient.
      #expect(
        row?.first.flatMap { Double($0) }.map { 0.032 <= $0 && $0 < 0.05 } == true, "\(estimate.output)")
    }
    let measured = try Program.pretrain(plan + link)
    #expect(measured.code == 0 && measured.output.contains("forward and backward (measured here: "))
    #expect(!FileManager.default.fileExists(atPath: tiny.scratch.path("a")))
  }
}
