import ArgumentParser

/// The tool around a pretraining run.
@main
struct BipftCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bipft",
    abstract:
      "Prepare corpora for 1-bit transformers, fine-tune them, look into their runs, and use what they trained.",
    subcommands: [
      CorpusCommand.self, FinetuneCommand.self, ScheduleCommand.self, CheckpointCommand.self,
      ExportCommand.self, EvaluateCommand.self, FillMaskCommand.self, ClassifyCommand.self,
      EmbedCommand.self, InspectCommand.self, BenchCommand.self,
    ])
}
