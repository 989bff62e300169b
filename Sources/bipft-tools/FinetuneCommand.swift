import ArgumentParser
import Foundation
import RunArguments
import Training

/// `bipft finetune …`
struct FinetuneCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "finetune",
    abstract: "Train a pretrained model on to tell classes or numbers of texts.",
    discussion: """
      Of GLUE, from its own files (DIR holds them, or a folder such as SST-2 that does):

        bipft finetune --task sst2 --from runs/demo --data glue
        bipft finetune --config configs/glue/sst2.yaml --from runs/demo --data glue --seeds 3

      A BERT of full precision, first as it is, then binarised and taught by what came of that:

        bipft finetune --task sst2 --from bert/ --precision full --data glue --output runs/teacher
        bipft finetune --task sst2 --from bert/ --teacher runs/teacher --data glue

      Of your own train.csv and dev.csv (or .tsv, .jsonl) with named columns; classes are found in the data:

        bipft finetune --from runs/demo --data reviews --text review --label stars
        bipft finetune --from runs/demo --data pairs --text a --second-text b --label score --number

      It is a run like that of bipft-pretrain: with mpirun -n 2 before it two ranks train to the same bits; metrics.jsonl, \
      checkpoints and exit codes are the same, and the same command goes on after a stop. After each epoch the held-out rows \
      are looked at; the checkpoints of the best epoch and of the last one are kept. The end prints their metrics beside those \
      of a model that always says the same and of a bag of tokens. task.json in the run folder keeps the names of the classes.

      The best epoch is that with the highest first metric of the task (CoLA Matthews, STS-B Pearson, else accuracy, of MNLI \
      on the matched rows); of equal ones the earliest.

      In .tsv quotes are plain characters, as GLUE has them; in .csv they enclose fields. Texts longer than --length lose \
      their ends, of two the longer one first.
      """)

  @Option(
    help: ArgumentHelp(
      "A YAML file of keys of the configuration, as configs/glue/sst2.yaml; the options below count more, and keys that it "
        + "leaves out are as without it.",
      valueName: "file"))
  var config: String?

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
    help: ArgumentHelp(
      "What to start from: a checkpoint, or a run, whose newest it is; a full-precision BERT as Hugging Face has it, a folder "
        + "with config.json, model.safetensors and vocab.txt, or the weights in it; or scratch, with the model's shape in --set "
        + "or the --config file.",
      valueName: "start"))
  var from: String?

  @Option(
    help: ArgumentHelp(
      "binary (a BERT is binarised, its step sizes fitted to the first batch), half_binary (activations alone) or full (float32, "
        + "a BERT as it is). Default: that of the checkpoint, else binary.",
      valueName: "precision"))
  var precision: String?

  @Option(
    help: ArgumentHelp(
      "Rank of the residual estimators, 0 for none. Default: that of the checkpoint; of a BERT and from scratch 1.",
      valueName: "n"))
  var estimatorRank: Int?

  @Option(
    help: ArgumentHelp(
      "Distil from this run or checkpoint of the same task, fine-tuned with --precision full.",
      valueName: "run"))
  var teacher: String?

  @Option(
    help: ArgumentHelp(
      "What of the teacher is to be matched: logits, hidden (states) or both. Default: both.",
      valueName: "what"))
  var distillation: String?

  @Option(
    help: ArgumentHelp(
      "What of a text the head reads: first, BERT's pooled output, or mean, that of all last hidden states, which suits "
        + "sentence encoders and models that saw few tokens. Default: first.",
      valueName: "what"))
  var pooling: String?

  @Option(help: ArgumentHelp("The folder of the task's files.", valueName: "dir"))
  var data: String?

  @Option(
    help: ArgumentHelp(
      "The vocabulary of the model. Default: that of the corpus that the checkpoint's run names; vocab.txt beside a BERT.",
      valueName: "file"))
  var vocab: String?

  @Option(help: ArgumentHelp("Default: as BiPFT's authors (6 to 50), else 10.", valueName: "n"))
  var epochs: Int?

  @Option(help: ArgumentHelp("Constant. Default: 2e-5.", valueName: "rate"))
  var learningRate: String?

  @Option(
    help: ArgumentHelp(
      "Rows of a step; a multiple of 8 lets up to 8 ranks share it. Default: 32.", valueName: "n"))
  var batch: Int?

  @Option(
    help: ArgumentHelp(
      "Tokens of a row, with [CLS] and [SEP]. Default: 128, or the longest that the model reads.",
      valueName: "n"))
  var length: Int?

  @Option(
    help: ArgumentHelp(
      "End once so many epochs in a row were no better than the best before. Default: 0, never.",
      valueName: "n"))
  var patience: Int?

  @Option(
    help: ArgumentHelp("Seeds the head, the order of the rows and dropout. Default: 1.", valueName: "n"))
  var seed: UInt64?

  @Option(
    help: ArgumentHelp(
      "Make so many runs one after the other, with --seed and the numbers after it, and end with their means in a table "
        + "and in summary.json.",
      valueName: "n"))
  var seeds: Int?

  @Option(
    help: ArgumentHelp(
      "The run folder; with --seeds the folder of summary.json, which holds the runs as seed-1, seed-2, … Default: the runs "
        + "are runs/NAME/seed-N, NAME being that of the --config file or the task.",
      valueName: "dir"))
  var output: String?

  @Option(
    parsing: .singleValue,
    help: ArgumentHelp(
      "At the end, write what the model of the best epoch says of the rows of this table, which needs no labels, to "
        + "predictions/ in the run folder: index, tab, prediction, under GLUE's name for a test file of its. May be given many "
        + "times.",
      valueName: "file"))
  var predict: [String] = []

  @Flag(
    help: "With --predict: a column for each class follows, with its probability (which GLUE does not take).")
  var probabilities = false

  @Flag(help: "With --predict: the model of the last epoch, not the best.")
  var last = false

  @OptionGroup var arguments: RunArguments

  func validate() throws {
    if config == nil {
      if task == nil, text == nil {
        throw ValidationError(
          "give --task NAME for a task of GLUE, --text COLUMN of your own files, or --config FILE")
      }
      if from == nil {
        throw ValidationError("give --from RUN, the run, checkpoint or BERT to start from, or scratch")
      }
      if data == nil { throw ValidationError("give --data DIR, the folder of the task's files") }
    }
    if task != nil, text != nil || secondText != nil || label != nil || number {
      throw ValidationError(
        "--task \(task ?? "") has its columns; leave --text, --second-text, --label and --number out")
    }
    for (name, value, least) in [
      ("--epochs", epochs, 1), ("--batch", batch, 1), ("--length", length, 5), ("--patience", patience, 0),
      ("--seeds", seeds, 1), ("--estimator-rank", estimatorRank, 0),
    ] {
      if let value, value < least { throw ValidationError("\(name) \(value): use \(least) or more") }
    }
    if text == nil, secondText != nil { throw ValidationError("--second-text needs --text") }
    if predict.isEmpty, probabilities || last {
      throw ValidationError("\(probabilities ? "--probabilities" : "--last") needs --predict FILE")
    }
    if distillation != nil, teacher == nil, config == nil {
      throw ValidationError("--distillation needs --teacher RUN")
    }
    if probabilities, number {
      throw ValidationError("--probabilities are of classes; leave it out with --number")
    }
  }

  private var options: FinetuneOptions {
    var options = FinetuneOptions()
    options.configurationFile = config
    options.task = task
    options.texts = [text, secondText].compactMap { $0 }
    options.label = label
    options.isNumber = number
    options.checkpoint = from
    options.precision = precision
    options.estimatorRank = estimatorRank
    options.teacher = teacher
    options.distillation = distillation
    options.pooling = pooling
    options.data = data
    options.vocabulary = vocab
    options.epochs = epochs
    options.learningRate = learningRate
    options.batch = batch
    options.length = length
    options.patience = patience
    options.seed = seed
    options.seeds = seeds
    options.output = output
    options.overrides = arguments.overrides
    options.allowedChanges = arguments.allowedChanges
    options.triesAgain = arguments.tryAgain
    options.isDryRun = arguments.dryRun
    options.isQuiet = arguments.quiet
    options.plannedRanks = arguments.ranks
    options.predict = predict
    options.givesProbabilities = probabilities
    options.choice = last ? .last : .best
    return options
  }

  func run() throws {
    let rank = LaunchedRank.own
    let code: Training.ExitCode
    do {
      code = try finetune(options: options)
    } catch {
      rank.complain("\(error)", as: "bipft")
      code = TrainingError.exitCode(of: error)
    }
    guard code != .finished else { return }
    rank.waitForSpeaker(code)
    throw ArgumentParser.ExitCode(code.rawValue)
  }
}
