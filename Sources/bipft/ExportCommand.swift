import ArgumentParser
import FileFormats
import Foundation
import Training

/// `bipft export RUN`
struct ExportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export", abstract: "Pack a trained model into one file for use.",
    discussion: """
      The file holds the binary weights as bits, everything else as float16 (or float32), the vocabulary and the sizes: \
      docs/inference.md has it to the bit. It is written whole or not at all.

        bipft export runs/demo --output demo.bipft
        bipft export runs/demo/checkpoints/step-00000100 --output demo.bipft --head none --reals float32

      Of a run that keeps the best checkpoint (checkpoint.keep_best, as bipft finetune does) that is taken, else the newest \
      valid one. --head mlm adds what fills masks: the word embedding in float16 or \
      float32, by far the largest tensor then.
      """)

  @Argument(help: ArgumentHelp("Folder of a run or of a checkpoint.", valueName: "run"))
  var source: String

  @Option(help: ArgumentHelp("The file to write.", valueName: "file"))
  var output: String

  @Option(help: "What goes with the encoder: mlm or none.")
  var head = PackedModelFormat.Head.words

  @Option(help: "How what is not binary is kept: float16 or float32.")
  var reals = PackedModelFormat.Reals.float16

  @Option(help: ArgumentHelp("The run's vocabulary, if its corpus has moved.", valueName: "file"))
  var vocab: String?

  @Flag(help: "Take the newest checkpoint of the run, not the best.")
  var last = false

  func run() throws {
    try CheckpointCommand.endingClearly { () throws in
      let result = try ModelExport(
        source: source, choice: last ? .last : .best, output: output, head: head, reals: reals,
        vocabulary: vocab
      ).run { FileHandle.standardError.write(Data("bipft: \($0)\n".utf8)) }
      let sizes = result.sizes
      print("checkpoint: \(result.checkpoint) (step \(result.step))")
      for (what, bytes) in [
        ("bits", sizes.bits), ("encoder's \(reals.rawValue)", sizes.reals),
        ("head \(head.rawValue)", sizes.head),
        ("vocabulary", sizes.vocabulary), ("header", sizes.header), ("file", sizes.file),
        ("float32 weights", sizes.float32),
      ] {
        print("\(what.padding(toLength: 20, withPad: " ", startingAt: 0)) \(bytes) bytes")
      }
      print(String(format: "%.1f times smaller", Double(sizes.float32) / Double(sizes.file)))
    }
  }
}

extension PackedModelFormat.Head: ExpressibleByArgument {}
extension PackedModelFormat.Reals: ExpressibleByArgument {}
