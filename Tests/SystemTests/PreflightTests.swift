import Foundation
import Testing

/// Ranks that do not fit together do not start: one line that names them, the same code on all.
@Suite(.serialized) struct PreflightTests {
  private let program = Program.folder.appendingPathComponent("bipft-pretrain").path

  /// Rank 0 as it is, and ranks 1 and 2 behind `prefix`.
  private func run(
    _ tiny: TinyRun, _ run: String, environment: [String: String] = [:], prefix: [String] = [],
    program other: String? = nil, more: [String] = []
  ) throws -> Program.Outcome {
    let arguments = tiny.arguments(run, ["--set", "training.steps=2"])
    return try Program.run(
      "/usr/bin/env",
      ["mpirun", "--timeout", "120", "-n", "1", program] + arguments + [":", "-n", "2"] + prefix
        + [other ?? program] + arguments + more,
      environment: Program.mpiEnvironment.merging(environment) { $1 })
  }

  private func expectRefusal(
    _ outcome: Program.Outcome, _ message: String, location: SourceLocation = #_sourceLocation
  ) {
    let lines = outcome.errors.split(separator: "\n").filter { $0.hasPrefix("bipft") }
    #expect(outcome.code == 78, "\(outcome.errors)", sourceLocation: location)
    #expect(lines.count == 1, "\(outcome.errors)", sourceLocation: location)
    #expect(lines.first?.contains(message) == true, "\(outcome.errors)", sourceLocation: location)
  }

  private func warnings(_ outcome: Program.Outcome) -> [Substring] {
    outcome.errors.split(separator: "\n").filter { $0.contains("warning") }
  }

  @Test func ofRanksThatDiffer() throws {
    let tiny = try TinyRun()
    expectRefusal(try run(tiny, "a", more: ["--set", "seed=8"]), ": other arguments than those of rank 0 (")

    // Another build: the same program with a byte more.
    let other = tiny.scratch.path("other-build")
    try FileManager.default.copyItem(atPath: program, toPath: other)
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: other))
    try file.seekToEnd()
    try file.write(contentsOf: Data([0]))
    try file.close()
    expectRefusal(try run(tiny, "a", program: other), "ranks 1-2 (")
    expectRefusal(try run(tiny, "a", program: other), ": another build of the program than rank 0 (")

    // Nothing was begun.
    #expect(!FileManager.default.fileExists(atPath: tiny.scratch.path("a")))
  }

  /// Whether a process may have mounts of its own here; in many containers not even root may.
  private static let canHideFolders: Bool = {
    guard geteuid() == 0, let scratch = try? Scratch() else { return false }
    let outcome = try? Program.run(
      "/usr/bin/env", ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", scratch.folder])
    return outcome?.code == 0
  }()

  /// Ranks with a file system of their own under the name of the run.
  @Test(
    .enabled("SKIPPED: a process cannot have mounts of its own here (as root: unshare --mount)") {
      canHideFolders
    })
  func ofAFolderThatIsNotShared() throws {
    let tiny = try TinyRun()
    let parent = tiny.scratch.path("runs")
    func hidden(_ before: String) -> [String] {
      ["unshare", "--mount", "sh", "-c", "mount -t tmpfs tmpfs '\(parent)' && \(before); exec \"$0\" \"$@\""]
    }
    try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
    // The folder is missing there, or another one is in its place, even one that looks alike.
    for before in [
      "true", "mkdir '\(parent)/a'",
      "mkdir '\(parent)/a' && head -c 108 /dev/zero > '\(parent)/a/.preflight'",
    ] {
      let outcome = try run(tiny, "runs/a", prefix: hidden(before))
      expectRefusal(outcome, "\(parent)/a is not the folder that rank 0 has there; ")
      #expect(outcome.errors.contains("rank 1 ("), "\(outcome.errors)")
    }
    // On a file system that they share the same run starts, and keeps nothing of the attempts.
    let outcome = try run(tiny, "runs/a")
    #expect(outcome.code == 0, "\(outcome.errors)")
    let left = try FileManager.default.contentsOfDirectory(atPath: parent + "/a")
    #expect(!left.contains { $0.hasPrefix(".preflight") }, "\(left)")
  }

  @Test func saysInOneLineWhatRuns() throws {
    let tiny = try TinyRun()
    let quiet = try run(tiny, "quiet")
    #expect(quiet.code == 0, "\(quiet.errors)")
    let lines =
      quiet.errors.split(separator: "\n").filter { $0.contains("preflight: ") }
      + warnings(quiet)
    #expect(lines.count == 1, "\(quiet.errors)")
    #expect(lines.first?.contains("preflight: 3 ranks of 1 thread on 1 host (") == true, "\(quiet.errors)")
  }

  @Test(.enabled(if: ProcessInfo.processInfo.activeProcessorCount > 1, "needs two cores"))
  func ranksBoundToOneCoreAreNamed() throws {
    let tiny = try TinyRun()
    let outcome = try Program.run(
      "/usr/bin/env",
      ["mpirun", "--timeout", "120", "-n", "2", "--bind-to", "none", "taskset", "--cpu-list", "0", program]
        + tiny.arguments("a", ["--set", "training.steps=2"]), environment: Program.mpiEnvironment)
    #expect(outcome.code == 0, "\(outcome.errors)")
    let lines = warnings(outcome)
    #expect(lines.count == 1, "\(outcome.errors)")
    #expect(lines.first?.contains(": ranks 0-1 with 2 threads may use 1 of ") == true, "\(outcome.errors)")
  }
}
