import Testing
import Training

@Suite struct LearningRateTests {
  @Test func warmsUpAndDecaysLinearly() {
    let schedule = LearningRate(peak: 1, warmupSteps: 4, steps: 12)
    let rates = (1...13).map { schedule.rate(step: $0) }
    #expect(rates == [0.25, 0.5, 0.75, 1, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0])
  }

  @Test func withoutWarmUpTheFirstStepHasTheFullRate() {
    let schedule = LearningRate(peak: 1, warmupSteps: 0, steps: 4)
    #expect((1...5).map { schedule.rate(step: $0) } == [1, 0.75, 0.5, 0.25, 0])
    #expect(LearningRate(peak: 0.5, warmupSteps: 0, steps: 1).rate(step: 1) == 0.5)
  }

  @Test func aRunShorterThanItsWarmUpOnlyWarmsUp() {
    let schedule = LearningRate(peak: 1, warmupSteps: 8, steps: 2)
    #expect((1...3).map { schedule.rate(step: $0) } == [0.125, 0.25, 0])
    #expect(LearningRate(peak: 1, warmupSteps: 2, steps: 2).rate(step: 2) == 1)
  }

  /// Against the factor of transformers' get_linear_schedule_with_warmup, (n - s)/(n - w) after s updates.
  @Test func decayIsThatOfTransformers() {
    let schedule = LearningRate(peak: 2e-4, warmupSteps: 5000, steps: 500_000)
    for done in [5000, 5001, 123_456, 499_999] {
      let factor = Double(500_000 - done) / Double(500_000 - 5000)
      #expect(abs(Double(schedule.rate(step: done + 1)) / 2e-4 - factor) < 1e-6 * factor)
    }
    #expect(schedule.rate(step: 5000) == 2e-4)
    #expect(schedule.rate(step: 1) == 4e-8)
  }

  @Test func constantAfterTheWarmUp() {
    let schedule = LearningRate(peak: 1, warmupSteps: 4, steps: 12, decay: .constant)
    #expect(
      (1...13).map { schedule.rate(step: $0) } == [0.25, 0.5, 0.75] + Array(repeating: 1, count: 9) + [0])
  }
}
