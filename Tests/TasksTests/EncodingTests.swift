import Corpora
import Tasks
import Testing

@Suite struct EncodingTests {
  private let encoder: PairEncoder

  init() throws {
    let folder = try Folder()
    let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d", "e", "##f"]
    let path = try folder.write("vocab.txt", words.joined(separator: "\n") + "\n")
    encoder = PairEncoder(try Vocabulary(path: path), length: 10)
  }

  @Test func oneTextAndTwo() {
    let one = encoder.encode(["A bf z"])
    #expect(one.ids == [2, 5, 6, 10, 1, 3, 0, 0, 0, 0] && one.count == 6 && one.cut == 0)
    #expect(one.types == [Int32](repeating: 0, count: 10))
    let two = encoder.encode(["a b", "c"])
    #expect(two.ids == [2, 5, 6, 3, 7, 3, 0, 0, 0, 0] && two.count == 6)
    #expect(two.types == [0, 0, 0, 0, 1, 1, 0, 0, 0, 0])
    #expect(encoder.encode([""]).ids == [2, 3, 0, 0, 0, 0, 0, 0, 0, 0])
  }

  @Test func theLongerTextIsCutFirst() {
    let one = encoder.encode(["a b c d e a b c d e"])
    #expect(one.ids == [2, 5, 6, 7, 8, 9, 5, 6, 7, 3] && one.cut == 2 && one.count == 10)
    // Room for 7: of 8 and 2 the first keeps 5; of 5 and 6 they keep 4 and 3; of 2 and 9 the first keeps all.
    let lengths: [(Int, Int, Int, Int)] = [
      (8, 2, 5, 2), (5, 6, 4, 3), (2, 9, 2, 5), (9, 9, 4, 3), (7, 1, 6, 1),
    ]
    for (first, second, left, right) in lengths {
      let found = encoder.encode([
        Array(repeating: "a", count: first).joined(separator: " "),
        Array(repeating: "b", count: second).joined(separator: " "),
      ])
      #expect(found.ids.count { $0 == 5 } == left && found.ids.count { $0 == 6 } == right)
      #expect(found.cut == first + second - 7 && found.count == 10)
    }
  }
}

@Suite struct BaselineTests {
  @Test func majority() {
    #expect(Majority(targets: [1, 2, 2, 1, 0], task: .classes).prediction == 1)
    #expect(Majority(targets: [1, 2], task: .number(range: nil)).prediction == 1.5)
  }

  @Test func wordsThatTellTheClassAreFound() {
    // Of three classes each has a word; the other words are the same for all.
    let rows = (0..<60).map { (index: Int32) -> [[Int32]] in [[index % 3, 3 + index % 7, 3 + index % 5]] }
    let model = BagOfTokens(
      rows: rows, targets: (0..<60).map { Float($0 % 3) }, classes: 3, vocabularySize: 10)
    #expect((0..<3).map { model.predict([[Int32($0), 4, 9]]) } == [0, 1, 2])
    let again = BagOfTokens(
      rows: rows, targets: (0..<60).map { Float($0 % 3) }, classes: 3, vocabularySize: 10)
    #expect(again.predict([[0, 1]]) == model.predict([[0, 1]]))
  }

  /// However many rows there are, no more than the limit are learned from, and there is a sign of life on the way.
  @Test func itsCostIsBounded() {
    let count = 2 * BagOfTokens.rowLimit
    // Every other row, which it sees, says that token 0 is class 0; the rest say the contrary.
    let classes = (0..<count).map { $0 / 2 % 2 }
    let rows: [[[Int32]]] = classes.map { [[Int32($0)]] }
    let targets: [Float] = classes.enumerated().map { row, own in
      Float(row % 2 == 0 ? own : 1 - own)
    }
    var touches = 0
    let model = BagOfTokens(rows: rows, targets: targets, classes: 2, vocabularySize: 2) { touches += 1 }
    #expect(model.predict([[0]]) == 0 && model.predict([[1]]) == 1)
    #expect(touches >= 5 * BagOfTokens.rowLimit / 1000)
  }

  @Test func whatTwoTextsShareTellsANumber() {
    // 5 where the texts are the same, 0 where they have nothing in common.
    let rows = (0..<40).map { (index: Int32) -> [[Int32]] in [[index % 8], [(index + index % 2) % 8]] }
    let model = BagOfTokens(
      rows: rows, targets: (0..<40).map { $0 % 2 == 0 ? 5 : 0 }, classes: 0, vocabularySize: 8)
    #expect(model.predict([[3], [3]]) > model.predict([[3], [6]]) + 1)
  }
}
