import ArgumentParser
import Coordinator
import Foundation
import Training

/// `bipft checkpoint …`
struct CheckpointCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "checkpoint", abstract: "List, verify and prune the checkpoints of a run.",
    subcommands: [List.self, Verify.self, Prune.self])

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "List the checkpoints of a run, oldest first, and what became of the run.",
      discussion: "The exit code is 70 or 78 if one cannot be read now.")

    @Argument(help: ArgumentHelp("Folder of the run.", valueName: "run"))
    var folder: String

    func run() throws {
      try CheckpointCommand.endingClearly { () throws in
        let report = try CheckpointStore(run: folder).summaries()
        for line in report.lines { print(line) }
        if let best = try ModelChoice.bestStep(ofRun: folder) { print("best evaluation: step \(best)") }
        if let state = try RunDirectory.summary(folder) { print("run: \(state)") }
        if let failure = report.failure { throw failure }
      }
    }
  }

  struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Compare every byte of a run's checkpoints with their manifests.",
      discussion:
        "Prints one line a checkpoint; the exit code is 78 if one is damaged, 70 or 78 if one cannot be read now."
    )

    @Argument(help: ArgumentHelp("Folder of the run.", valueName: "run"))
    var folder: String

    func run() throws {
      let damaged = try CheckpointCommand.endingClearly { () throws in
        let report = try CheckpointStore(run: folder).verifyAll()
        for line in report.lines { print(line) }
        if let failure = report.failure { throw failure }
        return report.damaged
      }
      if damaged > 0 { throw ArgumentParser.ExitCode(78) }
    }
  }

  struct Prune: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Remove old checkpoints of a run.",
      discussion: """
        Keeps the newest whole ones (at least two), the best if the run keeps it, every n-th if asked, and all that are \
        damaged; prints what it removes. Refused while a job is using the run, or if one cannot be read now.
        """)

    @Argument(help: ArgumentHelp("Folder of the run.", valueName: "run"))
    var folder: String

    @Option(help: ArgumentHelp("How many of the newest whole checkpoints stay.", valueName: "n"))
    var keep = 2

    @Option(
      help: ArgumentHelp("Those whose step is a multiple of this stay too; 0 for none.", valueName: "steps"))
    var keepEvery = 0

    func validate() throws {
      if keep < 2 { throw ValidationError("--keep \(keep): use 2 or more") }
      if keepEvery < 0 { throw ValidationError("--keep-every \(keepEvery): use 0 or more") }
    }

    func run() throws {
      try CheckpointCommand.endingClearly { () throws in
        let store = try CheckpointStore(run: folder)
        // Held, so that no job starts meanwhile.
        let run = try RunDirectory(path: folder)
        let removed = try store.prune(
          keepLast: keep, keepEvery: keepEvery > 0 ? keepEvery : nil,
          best: try ModelChoice.bestStep(ofRun: folder))
        for step in removed { print("removed: \(run.checkpointsPath)/\(checkpointName(step: step))") }
        if removed.isEmpty { print("nothing to remove") }
      }
    }
  }

  /// An error becomes one line and an exit code: 78, or 70 for what may pass.
  static func endingClearly<Result>(_ body: () throws -> Result) throws -> Result {
    do { return try body() } catch {
      FileHandle.standardError.write(Data("bipft: \(error)\n".utf8))
      throw ArgumentParser.ExitCode(TrainingError.exitCode(of: error).rawValue)
    }
  }
}
