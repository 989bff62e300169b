import ArgumentParser
import Corpora

extension CorpusCommand {
  struct Demo: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make \(DemoCorpus.directory) of the bundled text, for configs/demo.yaml.",
      discussion: "Run it in the folder of a clone. What is there already and up to date is left as it is.")

    func run() throws {
      try reportingErrors { () throws(CorpusError) in
        let interrupt = Interrupt()
        let progress = BuildProgress()
        defer { progress.clear() }
        let made = try DemoCorpus.make(progress: progress.show, isInterrupted: { interrupt.isRequested })
        progress.clear()
        guard let made else {
          print("\(DemoCorpus.directory) is up to date")
          return
        }
        print("corpus in \(DemoCorpus.directory)")
        for line in try CorpusSummary(made).lines { print(line) }
      }
    }
  }
}
