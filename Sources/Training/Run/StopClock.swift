/// Wall clock that a job may use (`stop_after`), what it takes to save the run counted in.
public struct StopClock: Sendable {
  private let start: ContinuousClock.Instant
  private let limit: Int?
  /// Seconds that a checkpoint takes: a guess until one was measured.
  private var saving: Double
  private var hasMeasured = false
  /// The longest step so far: one more will be done after the clock has been looked at.
  private var step = 0.0
  /// The longest evaluation so far; nil until one was measured.
  private var evaluation: Double?
  /// Sequences of an evaluation for each of a step: what it takes, in steps, until one was measured. It has no backward, so it
  /// takes less than that.
  private let evaluationSteps: Double

  /// - Parameters:
  ///   - bytes: size of a checkpoint.
  ///   - evaluationSteps: sequences of an evaluation / sequences of a step.
  public init(start: ContinuousClock.Instant, limit: Int?, bytes: Int, evaluationSteps: Double) {
    self.start = start
    self.limit = limit
    self.evaluationSteps = evaluationSteps
    // 100 MB/s until it is known better.
    saving = Double(bytes) / 100e6
  }

  public mutating func noteCheckpoint(seconds: Double) {
    saving = hasMeasured ? max(saving, seconds) : seconds
    hasMeasured = true
  }

  public mutating func noteStep(seconds: Double) { step = max(step, seconds) }

  public mutating func noteEvaluation(seconds: Double) { evaluation = max(evaluation ?? 0, seconds) }

  /// Time to stop: after one more step, `evaluations` evaluations and half as much again as a checkpoint takes, the limit is
  /// reached.
  ///
  /// - Parameter evaluations: those that come before the clock is heard again and the run saved.
  func isTimeUp(evaluations: Int) -> Bool { isTimeUp(evaluations: evaluations, after: start.secondsUntilNow) }

  /// The same, `seconds` after the start.
  public func isTimeUp(evaluations: Int, after seconds: Double) -> Bool {
    guard let limit else { return false }
    let evaluating = Double(evaluations) * (evaluation ?? evaluationSteps * step)
    return seconds + step + evaluating + 1.5 * saving >= Double(limit)
  }
}
