import Testing
import Training

@Suite struct StopClockTests {
  /// A job of 100 s with checkpoints of 2 s (200 MB), and evaluations of four steps' sequences.
  private func clock(limit: Int? = 100) -> StopClock {
    StopClock(start: .now, limit: limit, bytes: 200_000_000, evaluationSteps: 4)
  }

  @Test func keepsAStepAndACheckpointFree() {
    var clock = clock()
    for seconds in [1.0, 5, 3] { clock.noteStep(seconds: seconds) }
    // 5 s for the longest step, 3 s for one and a half checkpoints as guessed.
    #expect(!clock.isTimeUp(evaluations: 0, after: 91.9))
    #expect(clock.isTimeUp(evaluations: 0, after: 92))
    // As measured: the first measurement takes the place of the guess, then the longest counts.
    clock.noteCheckpoint(seconds: 1)
    #expect(!clock.isTimeUp(evaluations: 0, after: 93.4))
    for seconds in [4.0, 2] { clock.noteCheckpoint(seconds: seconds) }
    #expect(!clock.isTimeUp(evaluations: 0, after: 88.9))
    #expect(clock.isTimeUp(evaluations: 0, after: 89))
  }

  @Test func keepsTheEvaluationsFreeThatComeFirst() {
    var clock = clock()
    clock.noteStep(seconds: 2)
    // 2 s + 3 s, and four steps an evaluation until one was measured.
    #expect(!clock.isTimeUp(evaluations: 0, after: 94.9))
    #expect(clock.isTimeUp(evaluations: 1, after: 87) && !clock.isTimeUp(evaluations: 1, after: 86.9))
    #expect(clock.isTimeUp(evaluations: 2, after: 79) && !clock.isTimeUp(evaluations: 2, after: 78.9))
    for seconds in [20.0, 30, 25] { clock.noteEvaluation(seconds: seconds) }
    #expect(clock.isTimeUp(evaluations: 1, after: 65) && !clock.isTimeUp(evaluations: 1, after: 64.9))
    #expect(!clock.isTimeUp(evaluations: 0, after: 94.9))
  }

  @Test func withoutALimitThereIsAlwaysTime() {
    let clock = clock(limit: nil)
    #expect(!clock.isTimeUp(evaluations: 2, after: 1e9))
  }
}
