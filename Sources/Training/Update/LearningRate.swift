import RunSettings

/// Linear warm-up, then linear decay to zero, or none.
///
/// Steps count from 1: step s is the s-th update of the run. With w warm-up steps out of n,
///
///     rate(s) = peak · s / w                     for s ≤ w
///     rate(s) = peak · (n − (s − 1)) / (n − w)   for w < s ≤ n, or peak where the decay is `constant`
///
/// So the first update already moves, update w has the full rate, and the rate would be zero after n updates. The
/// decay is that of `get_linear_schedule_with_warmup` in Hugging Face transformers; its warm-up starts one
/// step earlier, with an update at rate zero.
public struct LearningRate: Equatable, Sendable {
  public let peak: Float
  public let warmupSteps: Int
  public let steps: Int
  public let decay: LearningRateDecay

  public init(peak: Float, warmupSteps: Int, steps: Int, decay: LearningRateDecay = .linear) {
    precondition(warmupSteps >= 0 && steps >= 0, "a schedule of \(warmupSteps) warm-up steps out of \(steps)")
    self.peak = peak
    self.warmupSteps = warmupSteps
    self.steps = steps
    self.decay = decay
  }

  /// The rate of update `step`, which is at least 1; zero beyond the last one.
  public func rate(step: Int) -> Float {
    precondition(step >= 1, "the learning rate of step \(step), but steps count from 1")
    guard step <= steps else { return 0 }
    if decay == .constant, step > warmupSteps { return peak }
    let (part, whole) =
      step <= warmupSteps ? (step, warmupSteps) : (steps - (step - 1), steps - warmupSteps)
    return Float(Double(peak) * Double(part) / Double(whole))
  }
}

extension RunConfiguration.Training {
  /// The learning rate of each step.
  public var schedule: LearningRate { schedule(peak: learningRate) }

  /// That of the step sizes.
  public var stepSizeSchedule: LearningRate { schedule(peak: stepSizeLearningRate ?? learningRate) }

  private func schedule(peak: Float) -> LearningRate {
    LearningRate(peak: peak, warmupSteps: warmupSteps, steps: steps, decay: decay)
  }
}
