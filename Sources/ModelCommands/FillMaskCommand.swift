import ArgumentParser
import BinaryInference
import DurableFiles

/// `bipft fill-mask MODEL`
public struct FillMaskCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "fill-mask", abstract: "Guess the words at [MASK] in each line of standard input.",
    discussion: """
      Prints one JSON object a line: line (from 1) and masks, each with its position among the tokens ([CLS] is 0) and the \
      likeliest words: token, id, logit, probability.

        echo 'The capital of France is [MASK].' | bipft fill-mask model.bipft
      """)

  @Argument(help: ArgumentHelp("A file that bipft export made, with --head mlm.", valueName: "model"))
  var model: String

  @Option(help: "Words for each mask.")
  var top = 5

  @OptionGroup var lines: LineOptions

  public func validate() throws {
    if top < 1 { throw ValidationError("--top \(top): use 1 or more") }
  }

  public init() {}

  public func run() throws {
    let use = try ModelUse(model)
    try use.require(.words)
    try use.eachLine(lines) { line in
      let masks = try use.model.fillMask(line.tokens, segments: line.segments, top: top).map { mask in
        let guesses = mask.guesses.map { guess in
          JSONText.object([
            ("token", JSONText.quoted(guess.text)), ("id", "\(guess.token)"),
            ("logit", JSONText.number(guess.logit)), ("probability", JSONText.number(guess.probability)),
          ])
        }
        return JSONText.object([("position", "\(mask.position)"), ("guesses", JSONText.array(guesses))])
      }
      try printLine(line.answer([("masks", JSONText.array(masks))]))
    }
  }
}
