import ArgumentParser
import Foundation
import Training

/// `bipft finetune …`
struct FinetuneCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "finetune",
    abstract: "Train a pretrained model on to tell classes or numbers of texts.",
    discussion: """
      Of GLUE, from its own files (DIR holds them, or a folder such as SST-2 that does):

        bipft finetune --task sst2 --from runs/demo --data glue

      Of your own train.csv and dev.csv (or .tsv, .jsonl) with named columns; classes are found in the data:

        bipft finetune --from runs/demo --data reviews --text review --label stars
        bipft finetune --from runs/demo --data pairs --text a --second-text b --label score --number

      It is a run like that of bipft-pretrain: with mpirun -n 2 before it two ranks train to the same bits; metrics.jsonl, \
      checkpoints and exit codes are the same, and the same command goes on after a stop. After each epoch the held-out rows \
      are looked at. The end prints their metrics beside those of a model that always says the same and of a bag of tokens. \
      task.json in the run folder keeps the names of the classes.

      In .tsv quotes are plain characters, as GLUE has them; in .csv they enclose fields. Texts longer than --length lose \
      their ends, of two the longer one first.
      """)

  @Option(
    help: ArgumentHelp(
      "cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte or wnli. Without it name the columns of your own files.",
      valueName: "name"))
  var task: String?

  @Option(help: ArgumentHelp("The column of the text, of your own files.", valueName: "column"))
  var text: String?

  @Option(help: ArgumentHelp("The column of a second text, if there are two.", valueName: "column"))
  var secondText: String?

  @Option(help: ArgumentHelp("The column of what is to be told. Default: label.", valueName: "column"))
  var label: String?

  @Flag(help: "The labels of your own files are numbers, not names of classes.")
  var number = false

  @Option(
    help: ArgumentHelp("The checkpoint to start from, or a run, whose newest it is.", valueName: "checkpoint")
  )
  var from: String

  @Option(help: ArgumentHelp("The folder of the task's files.", valueName: "dir"))
  var data: String

  @Option(
    help: ArgumentHelp(
      "The vocabulary of the checkpoint. Default: that of the corpus that its run names.", valueName: "file"))
  var vocab: String?

  @Option(help: ArgumentHelp("Default: as BiPFT's authors (6 to 50), else 10.", valueName: "n"))
  var epochs: Int?

  @Option(help: ArgumentHelp("Constant.", valueName: "rate"))
  var learningRate: String = "2e-5"

  @Option(help: ArgumentHelp("Rows of a step; a multiple of 8 lets up to 8 ranks share it.", valueName: "n"))
  var batch: Int = 32

  @Option(
    help: ArgumentHelp(
      "Tokens of a row, with [CLS] and [SEP]. Default: 128, or the longest that the model reads.",
      valueName: "n"))
  var length: Int?

  @Option(help: ArgumentHelp("Seeds the head, the order of the rows and dropout.", valueName: "n"))
  var seed: UInt64 = 1

  @Option(help: ArgumentHelp("The run folder. Default: runs/TASK-seedN.", valueName: "dir"))
  var output: String?

  @Option(
    parsing: .singleValue,
    help: ArgumentHelp(
      "At the end, write what the model says of the rows of this table, which needs no labels, to predictions/ in the run "
        + "folder. May be given many times.",
      valueName: "file"))
  var predict: [String] = []

  @Option(
    name: .customLong("set"), parsing: .singleValue,
    help: ArgumentHelp(
      "Change one key of the configuration that comes of all this. May be given many times.",
      valueName: "key=value"))
  var overrides: [String] = []

  @Option(
    name: .customLong("allow-change"), parsing: .singleValue,
    help: ArgumentHelp(
      "Go on from a checkpoint although this field has changed since: a key of the configuration, or corpus, vocabulary, "
        + "schedule. May be given many times.",
      valueName: "field"))
  var allowedChanges: [String] = []

  @Flag(
    help:
      "Start although three starts before brought no new checkpoint (exit code 78), once the cause is mended."
  )
  var tryAgain = false

  func validate() throws {
    if task == nil, text == nil {
      throw ValidationError("give --task NAME for a task of GLUE, or --text COLUMN of your own files")
    }
    if task != nil, text != nil || secondText != nil || label != nil || number {
      throw ValidationError(
        "--task \(task ?? "") has its columns; leave --text, --second-text, --label and --number out")
    }
    if let epochs, epochs < 1 { throw ValidationError("--epochs \(epochs): use 1 or more") }
    if batch < 1 { throw ValidationError("--batch \(batch): use 1 or more") }
    if let length, length < 5 { throw ValidationError("--length \(length): use 5 or more") }
  }

  private var options: FinetuneOptions {
    FinetuneOptions(
      task: task, texts: [text, secondText].compactMap { $0 }, label: label, isNumber: number,
      checkpoint: from, data: data, vocabulary: vocab, epochs: epochs, learningRate: learningRate,
      batch: batch, length: length, seed: seed, output: output, overrides: overrides,
      allowedChanges: allowedChanges,
      triesAgain: tryAgain, predict: predict)
  }

  func run() throws {
    let isSpeaker = LaunchedRank(environment: ProcessInfo.processInfo.environment).speaks
    let code: Training.ExitCode
    do {
      code = try finetune(options: options)
    } catch {
      if isSpeaker {
        for line in "\(error)".split(separator: "\n") {
          FileHandle.standardError.write(Data("bipft: \(line)\n".utf8))
        }
      }
      code = TrainingError.exitCode(of: error)
    }
    guard code != .finished else { return }
    // mpirun kills all ranks once one fails; the others wait, so that the speaker gets to say why.
    if !isSpeaker { sleep(5) }
    throw ArgumentParser.ExitCode(code.rawValue)
  }
}
