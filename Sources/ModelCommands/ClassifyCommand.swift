import ArgumentParser
import BinaryInference
import DurableFiles

/// `bipft classify MODEL`
public struct ClassifyCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "classify", abstract: "Tell the class, or the number, of each line of standard input.",
    discussion: """
      Prints one JSON object a line: line (from 1), label, probability, and classes with all of them; of a model that tells \
      numbers, number. A model of two texts wants them with a tab between them. What is longer than in training loses its end \
      as in training, of two texts the longer one first; cut then says how many tokens.

        echo 'A film that nobody needed.' | bipft classify model.bipft
      """)

  @Argument(
    help: ArgumentHelp("A file that bipft export made of a run of bipft finetune.", valueName: "model"))
  var model: String

  public init() {}

  public func run() throws {
    let use = try ModelUse(model)
    try use.require(.classifier)
    try use.eachLine(texts: use.model.classifierTexts ?? 1, limit: use.model.trainedLength) { line in
      let answer = try use.model.classify(line.tokens, segments: line.segments)
      try printLine(line.answer(members(answer)))
    }
  }

  private func members(_ answer: ClassifierAnswer) -> [(name: String, value: String)] {
    func members(_ score: ClassScore) -> [(name: String, value: String)] {
      [("label", JSONText.quoted(score.label)), ("probability", JSONText.number(score.probability))]
    }
    switch answer {
    case .number(let value): return [("number", JSONText.number(value))]
    case .classes(let scores):
      let all = scores.map { JSONText.object(members($0)) }
      return (answer.best.map(members) ?? []) + [("classes", JSONText.array(all))]
    }
  }
}
