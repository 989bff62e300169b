import ArgumentParser

/// The commands of `bipft` that use a packed model: what needs neither MPI nor a BLAS, and so starts in milliseconds.
public struct ModelCommands: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "bipft", subcommands: all)

  /// In the order of the help.
  public static let all: [any ParsableCommand.Type] = [
    FillMaskCommand.self, ClassifyCommand.self, EmbedCommand.self, InspectCommand.self,
  ]

  /// Whether `name` is the name of one of them.
  public static func contain(_ name: String) -> Bool { all.contains { $0.configuration.commandName == name } }

  public init() {}
}
