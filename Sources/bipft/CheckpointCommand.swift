import ArgumentParser
import Coordinator
import Foundation

/// `bipft checkpoint …`
struct CheckpointCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "checkpoint", abstract: "List and verify the checkpoints of a run.",
    subcommands: [List.self, Verify.self])

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the checkpoints of a run, oldest first.")

    @Argument(help: ArgumentHelp("Folder of the run.", valueName: "run"))
    var folder: String

    func run() throws {
      try CheckpointCommand.endingClearly { () throws(CoordinatorError) in
        for line in try CheckpointStore(run: folder).summaries() { print(line) }
      }
    }
  }

  struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Compare every byte of a run's checkpoints with their manifests.",
      discussion: "Prints one line a checkpoint; the exit code is 78 if one is damaged.")

    @Argument(help: ArgumentHelp("Folder of the run.", valueName: "run"))
    var folder: String

    func run() throws {
      let isWhole = try CheckpointCommand.endingClearly { () throws(CoordinatorError) in
        let (lines, areWhole) = try CheckpointStore(run: folder).verifyAll()
        for line in lines { print(line) }
        return areWhole
      }
      if !isWhole { throw ExitCode(78) }
    }
  }

  /// An error becomes one line and the exit code of input that a retry will not mend.
  static func endingClearly<Result>(_ body: () throws(CoordinatorError) -> Result) throws -> Result {
    do throws(CoordinatorError) { return try body() } catch {
      FileHandle.standardError.write(Data("bipft: \(error)\n".utf8))
      throw ExitCode(78)
    }
  }
}
