import ArgumentParser
import FileFormats
import Foundation
import Training

/// `bipft export RUN`
struct ExportCommand: ParsableCommand {
  /// What is written.
  enum Format: String, CaseIterable, ExpressibleByArgument {
    case packed, huggingface
  }

  static let configuration = CommandConfiguration(
    commandName: "export", abstract: "Pack a trained model into one file for use.",
    discussion: """
      The file holds the binary weights as bits, everything else as --reals says, the vocabulary, the sizes, the run's \
      configuration, and of a fine-tuned model the names of its classes: docs/inference.md has it to the bit. It is written \
      whole or not at all.

        bipft export runs/demo --output demo.bipft
        bipft export runs/demo/checkpoints/step-00000100 --output demo.bipft --head none --reals float32
        bipft export runs/demo --format huggingface --output demo-bert

      Of a run that keeps the best checkpoint (checkpoint.keep_best, as bipft finetune does) that is taken, else the newest \
      valid one. --head mlm adds what fills masks: the word embedding, by far the largest tensor then. --head classifier is \
      that of bipft finetune.

      --reals int16 keeps the largest table (that word embedding, or the positions) as whole numbers with a unit for each row, \
      all else as float32; float16 is smaller and further from the trained model; float32 is the trained model.

      --format huggingface writes a folder with the latent weights in float32 instead, for transformers and the code of \
      BiPFT's authors. transformers computes a full-precision BERT with them, which is not the trained model.
      """)

  @Argument(help: ArgumentHelp("Folder of a run or of a checkpoint.", valueName: "run"))
  var source: String

  @Option(help: ArgumentHelp("The file, or of Hugging Face the folder, to write.", valueName: "path"))
  var output: String

  @Option(help: "packed or huggingface.")
  var format = Format.packed

  @Option(help: "What goes with the encoder: mlm, classifier or none. Default: what the checkpoint has.")
  var head: PackedModelFormat.Head?

  @Option(help: "How what is not binary is kept: int16, float16 or float32. Default: int16.")
  var reals: PackedModelFormat.Reals?

  @Option(help: ArgumentHelp("The run's vocabulary, if its corpus has moved.", valueName: "file"))
  var vocab: String?

  @Flag(help: "Take the newest checkpoint of the run, not the best.")
  var last = false

  func validate() throws {
    if format == .huggingface, head != nil || reals != nil {
      throw ValidationError(
        "--format huggingface takes all of a checkpoint as it is; leave --head and --reals out")
    }
  }

  func run() throws {
    try CheckpointCommand.endingClearly { () throws in
      func report(_ line: String) { FileHandle.standardError.write(Data("bipft: \(line)\n".utf8)) }
      let choice: ModelChoice = last ? .last : .best
      switch format {
      case .packed:
        show(
          try ModelExport(
            source: source, choice: choice, output: output, head: head, reals: reals ?? .int16,
            vocabulary: vocab
          ).run(report: report))
      case .huggingface:
        let result = try HuggingFaceExport(
          source: source, choice: choice, output: output, vocabulary: vocab
        ).run(report: report)
        print("checkpoint: \(result.checkpoint) (step \(result.step))")
        print("\(output): a folder for transformers.\(result.architecture)")
      }
    }
  }

  private func show(_ result: ModelExport.Result) {
    let sizes = result.sizes
    print("checkpoint: \(result.checkpoint) (step \(result.step))")
    for (what, bytes) in [
      ("bits", sizes.bits), ("encoder's \((reals ?? .int16).rawValue)", sizes.reals),
      ("head \(result.head.rawValue)", sizes.head), ("vocabulary", sizes.vocabulary),
      ("header", sizes.header), ("file", sizes.file), ("float32 weights", sizes.float32),
    ] {
      print("\(what.padding(toLength: 20, withPad: " ", startingAt: 0)) \(bytes) bytes")
    }
    print(String(format: "%.1f times smaller", Double(sizes.float32) / Double(sizes.file)))
  }
}

extension PackedModelFormat.Head: ExpressibleByArgument {}
extension PackedModelFormat.Reals: ExpressibleByArgument {}
