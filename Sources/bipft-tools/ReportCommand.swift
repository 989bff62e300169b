import ArgumentParser
import DurableFiles
import Foundation
import Training

/// `bipft report RUN …`
struct ReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report", abstract: "Make one page about a run, or several side by side.",
    discussion: """
      The page has the state, the curves, the vital signs of each layer, where the time goes, starts, checkpoints and the \
      configuration, of several runs what differs marked. It needs no script and no network, and can be made while a run goes on.

        bipft report runs/demo --output report.html
        bipft report runs/a runs/b --output compare.html
        bipft report --rebuild-events runs/demo

      --rebuild-events makes RUN/events anew from metrics.jsonl and vitals.jsonl, for TensorBoard.
      """)

  @Argument(help: ArgumentHelp("Folders of runs.", valueName: "run"))
  var runs: [String] = []

  @Option(help: ArgumentHelp("The page to write.", valueName: "file"))
  var output: String?

  @Option(help: ArgumentHelp("The run whose events are to be made anew.", valueName: "run"))
  var rebuildEvents: String?

  func validate() throws {
    if runs.isEmpty && rebuildEvents == nil { throw ValidationError("name the folder of a run") }
    if !runs.isEmpty && output == nil {
      throw ValidationError("name the page with --output, as in --output report.html")
    }
    if runs.isEmpty && output != nil {
      throw ValidationError("--output is for the page about a run; name its folder")
    }
  }

  func run() throws {
    try CheckpointCommand.endingClearly { () throws in
      if let rebuildEvents {
        let count = try RebuiltEvents.make(run: rebuildEvents)
        print("\(rebuildEvents)/events: made anew of \(count) records")
      }
      guard let output else { return }
      let page = Array(try RunReport(runs: runs).html().utf8)
      try replaceFile(output, with: page)
      print("\(output): \(page.count) bytes")
    }
  }
}
