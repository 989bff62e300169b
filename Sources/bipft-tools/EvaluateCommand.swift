import ArgumentParser
import DurableFiles
import Foundation
import Kernels
import Training

/// `bipft evaluate MODEL`
struct EvaluateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate", abstract: "Measure a packed model on held-out text or on a task.",
    discussion: """
      On a corpus, masked words and next sentences of its held-out documents: those that the run was evaluated on, so that \
      mlm_loss, nsp_loss, mlm_accuracy and nsp_accuracy are those of its metrics.jsonl.

        bipft evaluate model.bipft corpus/demo

      On a task, its held-out rows by the task's metrics: of a fine-tuned model those of its metrics.jsonl; of a model \
      without a head Pearson's and Spearman's correlation of the cosines of two texts with the numbers of people.

        bipft evaluate model.bipft --task sst2 --data glue
        bipft evaluate encoder.bipft --task stsb --data glue

      Prints one JSON object.
      """)

  @Argument(help: ArgumentHelp("A file that bipft export made.", valueName: "model"))
  var model: String

  @Argument(help: ArgumentHelp("Folder of a corpus.", valueName: "corpus"))
  var corpus: String?

  @Option(
    help: ArgumentHelp("A task of GLUE. Default: what the model was fine-tuned for.", valueName: "name"))
  var task: String?

  @Option(help: ArgumentHelp("The folder of the task's files.", valueName: "dir"))
  var data: String?

  @Option(help: ArgumentHelp("Held-out sequences. Default: as many as in the run.", valueName: "n"))
  var sequences: Int?

  @Option(help: "Threads; the results are the same with any number.")
  var threads = ProcessInfo.processInfo.activeProcessorCount

  func validate() throws {
    guard (corpus == nil) != (data == nil) else {
      throw ValidationError("give either a corpus, or the folder of a task's files with --data")
    }
    if corpus != nil, task != nil { throw ValidationError("--task is for --data") }
    if data != nil, sequences != nil { throw ValidationError("--sequences is for a corpus") }
    if let sequences, sequences < 1 { throw ValidationError("--sequences \(sequences): use 1 or more") }
    if threads < 1 { throw ValidationError("--threads \(threads): use 1 or more") }
  }

  func run() throws {
    startThreads(threads)
    try CheckpointCommand.endingClearly { () throws in
      let evaluation = try PackedEvaluation(path: model)
      let values =
        if let corpus {
          try evaluation.words(corpus: corpus, sequences: sequences)
        } else {
          try evaluation.task(task, folder: data ?? "")
        }
      print(JSONText.object(values))
    }
  }
}
