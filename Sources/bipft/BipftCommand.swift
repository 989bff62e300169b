import ArgumentParser

/// The tool around a pretraining run.
@main
struct BipftCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bipft",
    abstract: "Prepare corpora for 1-bit transformers, fine-tune them, and look into their runs.",
    subcommands: [
      CorpusCommand.self, FinetuneCommand.self, ScheduleCommand.self, CheckpointCommand.self,
      BenchCommand.self,
    ])
}
