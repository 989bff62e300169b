import BinaryInference
import CAllocationCount
import Foundation
import Synchronization
import Testing

/// A model that many threads use for long: the same answers, and no memory kept.
struct ManyCallsTests {
  private static let callers = 8
  private static let calls = 1250

  private static let counted = ConditionTrait.enabled(
    "SKIPPED: memory cannot be measured here (AddressSanitizer, or no GNU C library)"
  ) { ac_is_possible() != 0 }

  /// In a process of its own: threads of other tests take memory too.
  @Test(ManyCallsTests.counted) func tenThousandCallsFromEightThreads() async {
    await #expect(processExitsWith: .success) {
      let fixture = try PackedFixture(PackedFixture.small(rank: 1))
      let words = try BinaryModel(path: fixture.packed())
      let classifier = try BinaryModel(path: fixture.packed(head: .classifier))
      let sequences = (0..<3).map { fixture.sequence($0).tokens }
      let answers = Answers(words: words, classifier: classifier, sequences: sequences)
      // The first round warms up: each thread gets its part of the heap.
      precondition(Self.wrong(answers) == 0, "answers differ")
      let before = ac_bytes_kept()
      precondition(Self.wrong(answers) == 0, "answers differ")
      let growth = ac_bytes_kept() - before
      // 10,000 calls that kept one number each would show.
      precondition(growth < 40_000, "10,000 calls kept \(growth) bytes")
    }
  }

  /// What one thread gets, to be compared with what many get.
  private struct Answers: Sendable {
    let words: BinaryModel
    let classifier: BinaryModel
    let sequences: [[Int32]]
    private let vectors: [[Float]]
    private let guesses: [[MaskGuesses]]
    private let classes: [ClassifierAnswer]

    init(words: BinaryModel, classifier: BinaryModel, sequences: [[Int32]]) {
      self.words = words
      self.classifier = classifier
      self.sequences = sequences
      vectors = sequences.map { try! words.embed($0) }
      guesses = sequences.map { try! words.fillMask($0, top: 3) }
      classes = sequences.map { try! classifier.classify($0) }
    }

    func isRight(_ call: Int) -> Bool {
      let (index, tokens) = (call % 3, sequences[call % 3])
      return switch call / 3 % 3 {
      case 0: (try? words.embed(tokens)) == vectors[index]
      case 1: (try? words.fillMask(tokens, top: 3)) == guesses[index]
      default: (try? classifier.classify(tokens)) == classes[index]
      }
    }
  }

  /// How many of the calls of all threads gave something else.
  private static func wrong(_ answers: Answers) -> Int {
    let wrong = Mutex(0)
    let group = DispatchGroup()
    for caller in 0..<callers {
      group.enter()
      Thread {
        let own = (0..<calls).count { !answers.isRight(caller + $0) }
        wrong.withLock { $0 += own }
        group.leave()
      }.start()
    }
    group.wait()
    return wrong.withLock { $0 }
  }
}
