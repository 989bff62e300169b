import ArgumentParser
import BinaryInference
import DurableFiles
import TensorFiles

/// `bipft embed MODEL`
public struct EmbedCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "embed", abstract: "Turn each line of standard input into a vector.",
    discussion: """
      A vector is the mean of the last hidden states of all tokens ([CLS] and [SEP] included), of length 1. Prints one JSON \
      object a line: line (from 1) and embedding. With --output writes a file for numpy.load instead, float32, a row a line; \
      it is there whole or not at all.

        bipft embed model.bipft --output vectors.npy < lines.txt
      """)

  @Argument(help: ArgumentHelp("A file that bipft export made.", valueName: "model"))
  var model: String

  @Option(help: ArgumentHelp("A .npy file to write.", valueName: "file"))
  var output: String?

  @OptionGroup var lines: LineOptions

  public func validate() throws {
    if let output, !output.hasSuffix(".npy") {
      throw ValidationError("--output \(output): NumPy's format is the only one; let the name end with .npy")
    }
  }

  public init() {}

  public func run() throws {
    let use = try ModelUse(model)
    guard let output else {
      return try use.eachLine(lines) { line in
        let numbers = try use.model.embed(line.tokens, segments: line.segments).map { JSONText.number($0) }
        try printLine(line.answer([("embedding", JSONText.array(numbers))]))
      }
    }
    do {
      var file = try NumPyFile(output, columns: use.model.shape.hiddenSize)
      try use.eachLine(lines) { line in
        try file.append(use.model.embed(line.tokens, segments: line.segments))
      }
      try file.finish()
    } catch let error as FileError { throw ModelUse.ending("\(error)", code: 70) }
  }
}
