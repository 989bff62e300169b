import BinaryInference
import BinaryModel
import FileFormats
import Foundation
import Testing

struct HeadTests {
  @Test func fillsMasks() throws {
    let fixture = try PackedFixture(PackedFixture.wide(rank: 1))
    let model = try BinaryModel(path: fixture.packed())
    var tokens = fixture.sequence(0).tokens.map { $0 == model.vocabulary.mask ? 7 : $0 }
    #expect(try model.fillMask(tokens).isEmpty)
    // More than are computed at once.
    let positions = Array(stride(from: 1, to: 79, by: 4))
    for position in positions { tokens[position] = model.vocabulary.mask }
    let answers = try model.fillMask(tokens, top: 6)
    #expect(answers.map(\.position) == positions)
    let logits = try model.wordLogits(tokens, at: positions)
    for (answer, row) in zip(answers, logits) {
      let order = row.indices.sorted { (-row[$0], $0) < (-row[$1], $1) }.prefix(6)
      #expect(answer.guesses.map { Int($0.token) } == Array(order))
      let total = row.reduce(0.0) { $0 + exp(Double($1)) }
      for guess in answer.guesses {
        #expect(guess.logit == row[Int(guess.token)])
        #expect(abs(Double(guess.probability) - exp(Double(guess.logit)) / total) < 1e-5)
        #expect(guess.text == model.vocabulary.token(guess.token))
      }
    }
    // In any order, and again.
    let again = try model.wordLogits(tokens, at: [9, 1, 9, 77])
    #expect(again == [logits[2], logits[0], logits[2], logits[19]])
    // The first token is computed for the next sentence alone, too.
    let pretraining = try model.pretrainingLogits(tokens, at: [])
    #expect(pretraining.words.isEmpty && pretraining.nextSentence?.count == 2)
    #expect(try model.pretrainingLogits(tokens, at: [77]).nextSentence == pretraining.nextSentence)
    #expect(try model.fillMask(tokens, top: 1000).allSatisfy { $0.guesses.count == 203 })
  }

  @Test func embeds() throws {
    let fixture = try PackedFixture(PackedFixture.wide(rank: 1))
    let model = try BinaryModel(path: fixture.packed(head: .none))
    let sequences = (0..<3).map { fixture.sequence($0).tokens } + [[5]]
    let vectors = try model.embed(sequences)
    for (tokens, vector) in zip(sequences, vectors) {
      #expect(try vector == model.embed(tokens))
      let last = try #require(model.encode(tokens).hiddenStates.last)
      let sums = (0..<128).map { column in
        stride(from: column, to: last.count, by: 128).reduce(0.0) { $0 + Double(last[$1]) }
      }
      let length = sums.reduce(0) { $0 + $1 * $1 }.squareRoot()
      #expect(vector.distance(sums.map { Float($0 / length) }) < 1e-5)
    }
    for threads in [2, 3, 9] { #expect(try model.embed(sequences, threads: threads) == vectors) }
    #expect(try model.embed([[Int32]](), threads: 2).isEmpty)
    #expect(throws: BinaryModelError.tokenCount(0, limit: 80)) { try model.embed([[5], []], threads: 2) }
  }

  @Test func questionsThatCannotBeAnswered() throws {
    let fixture = try PackedFixture(PackedFixture.small(rank: 0))
    let model = try BinaryModel(path: fixture.packed(head: .none))
    #expect(throws: BinaryModelError.noHead(wanted: .words)) { try model.fillMask([4]) }
    #expect(throws: BinaryModelError.tokenCount(0, limit: 12)) { try model.embed([Int32]()) }
    #expect(throws: BinaryModelError.tokenCount(13, limit: 12)) {
      try model.encode([Int32](repeating: 5, count: 13))
    }
    for token: Int32 in [-1, 40, .max, .min] {
      #expect(throws: BinaryModelError.tokenOutOfRange(token: token, position: 1, vocabularySize: 40)) {
        try model.embed([5, token])
      }
    }
    #expect(throws: BinaryModelError.segments([1], tokens: 2)) { try model.encode([5, 6], segments: [1]) }
    #expect(throws: BinaryModelError.segments([1, 2], tokens: 2)) {
      try model.encode([5, 6], segments: [1, 2])
    }
    let words = try BinaryModel(path: fixture.packed())
    #expect(throws: BinaryModelError.positionOutOfRange(2, tokens: 2)) {
      try words.wordLogits([5, 6], at: [2])
    }
    #expect(
      throws: BinaryModelError.unknownInstructionSet("mmx", available: BinaryModel.instructionSets)
    ) { try BinaryModel(path: fixture.packed(), instructionSet: "mmx") }
  }

  /// Text as the ids between [CLS] and [SEP], cut as in training.
  @Test func encodesText() throws {
    let fixture = try PackedFixture(PackedFixture.small(rank: 0))
    let model = try BinaryModel(path: fixture.packed())
    let encoder = try TextEncoder(model.vocabulary)
    let one = encoder.encode("Word7 [MASK]\tzebra")
    #expect(one.tokens == [2, 7, 4, 1, 3] && one.segments == [0, 0, 0, 0, 0] && one.cut == 0)
    #expect(encoder.encode("").tokens == [2, 3])
    let two = encoder.encode("word7 word8 word9", "word10", limit: 6)
    #expect(two.tokens == [2, 7, 8, 3, 10, 3] && two.segments == [0, 0, 0, 0, 1, 1] && two.cut == 1)
    #expect(encoder.encode("word7 word8", "word9", limit: 2).tokens == [2, 3, 3])
  }

  /// A model that was exported without a head, and one whose head is another.
  @Test func headsThatAreNotThere() throws {
    let fixture = try PackedFixture(PackedFixture.small(rank: 1))
    let words = try BinaryModel(path: fixture.packed())
    #expect(throws: BinaryModelError.noHead(wanted: .classifier)) { try words.classify([2, 5, 3]) }
    #expect(words.labels == [] && words.classifierTexts == nil)
    let classifier = try BinaryModel(path: fixture.packed(head: .classifier))
    #expect(classifier.labels == ["no", "yes", "\"?"])
    #expect(throws: BinaryModelError.noHead(wanted: .words)) { try classifier.fillMask([4]) }
    #expect(throws: BinaryModelError.tokenCount(0, limit: 12)) { try classifier.classify([]) }
  }
}
