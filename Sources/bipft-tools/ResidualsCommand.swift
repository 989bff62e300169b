import ArgumentParser
import DurableFiles
import Foundation
import Kernels
import LeastSquares
import Training

/// `bipft residuals RUN CORPUS`
struct ResidualsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "residuals",
    abstract: "Measure what binarisation throws away, layer by layer and head by head.",
    discussion: """
      On held-out text: the energy of the scores' residual and of its three terms, what the estimators explain of it, the rank \
      that would hold half and nine tenths of it, and the same of the values. docs/METHOD.md has the formulas.

        bipft residuals runs/demo corpus/demo
        bipft residuals runs/demo corpus/demo --ranks 1,2,4 --per-head --json residuals.json --html residuals.html

      --ranks fits estimators of these ranks in closed form to half of the sequences and tells what they explain of the others: \
      what training could reach at most. --per-head does it with maps of each head's own, too, and takes as many times longer \
      as there are heads.
      """)

  @Argument(help: ArgumentHelp("Folder of a run or of a checkpoint.", valueName: "run"))
  var source: String

  @Argument(help: ArgumentHelp("Folder of a corpus with the run's vocabulary.", valueName: "corpus"))
  var corpus: String

  @Option(help: ArgumentHelp("Held-out sequences.", valueName: "n"))
  var sequences = 32

  @Option(help: ArgumentHelp("Ranks to fit, with commas.", valueName: "list"))
  var ranks: String?

  @Flag(help: "With --ranks: also estimators of each head's own.")
  var perHead = false

  @Flag(help: "A line for each head.")
  var heads = false

  @Option(help: ArgumentHelp("Write all numbers there.", valueName: "file"))
  var json: String?

  @Option(help: ArgumentHelp("Write a page with a plot there.", valueName: "file"))
  var html: String?

  @Flag(help: "Take the newest checkpoint of the run, not the best.")
  var last = false

  @Option(help: "Threads; the results are the same with any number.")
  var threads = ProcessInfo.processInfo.activeProcessorCount

  private func parsedRanks() throws -> [Int] {
    guard let ranks else { return [] }
    return try ranks.split(separator: ",", omittingEmptySubsequences: false).map {
      guard let rank = Int($0), (1...1024).contains(rank) else {
        throw ValidationError("--ranks \(ranks): use whole numbers from 1 to 1024 with commas, as in 1,2,4")
      }
      return rank
    }
  }

  func validate() throws {
    if try parsedRanks().isEmpty, perHead { throw ValidationError("--per-head is for --ranks") }
    let least = ranks == nil ? 1 : 2
    if sequences < least { throw ValidationError("--sequences \(sequences): use \(least) or more") }
    if threads < 1 { throw ValidationError("--threads \(threads): use 1 or more") }
  }

  func run() throws {
    useSingleThreadedBLAS()
    startThreads(threads)
    try CheckpointCommand.endingClearly { () throws in
      func report(_ line: String) { FileHandle.standardError.write(Data("bipft: \(line)\n".utf8)) }
      let found = try ResidualMeasurement(
        source: source, choice: last ? .last : .best, corpus: corpus, sequences: sequences,
        ranks: try parsedRanks(), perHead: perHead, report: report)
      print("\(found.checkpoint), step \(found.step), \(found.sequences) held-out sequences")
      print(found.text(heads: heads))
      if let json { try replaceFile(json, with: Array((found.json + "\n").utf8)) }
      if let html { try replaceFile(html, with: Array(found.html.utf8)) }
    }
  }
}
