import ArgumentParser
import ModelCommands

/// What `bipft` becomes for all but the commands that use a packed model; it has those too, so that its help is whole.
@main
struct BipftTools: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bipft",
    abstract:
      "Prepare corpora for 1-bit transformers, fine-tune them, look into their runs, and use what they trained.",
    subcommands: [
      CorpusCommand.self, FinetuneCommand.self, ScheduleCommand.self, CheckpointCommand.self,
      ExportCommand.self, EvaluateCommand.self, ResidualsCommand.self, ReportCommand.self,
    ] + ModelCommands.all + [BenchCommand.self])
}
