import ArgumentParser

/// `bipft corpus …`
struct CorpusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "corpus", abstract: "Build and inspect corpora.")
}
