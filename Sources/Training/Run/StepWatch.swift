import BinaryModel
import Collectives
import Coordinator
import Planning

/// Follows one step on one rank: where its time goes, where the watchdog is to look, and the faults that a test asks for.
struct StepWatch {
  var clock = StepClock()
  let faults: StepFaults
  /// Bytes that this rank had sent before the part of the step that counts them.
  var bytesBefore = 0
  private let start = ContinuousClock.now
  private let progress: RankProgress
  private let step: Int

  /// - Parameter step: the number of the step, from 1.
  init(step: Int, rank: Int, _ progress: RankProgress) {
    self.step = step
    self.progress = progress
    faults = StepFaults(rank: rank, step: step)
  }

  /// The step comes to `phase`, at what `detail` names.
  mutating func enter(_ phase: StepClock.Phase, _ detail: String = "") {
    switch phase {
    case .reading: progress.enter(.reading, step: step, detail: detail)
    case .exchange: progress.enter(.exchange, step: step, detail: detail)
    case .teacher, .forward, .backward, .update: progress.enter(.computing, step: step, detail: detail)
    }
    clock.enter(phase)
  }

  /// Seconds since the step began.
  var seconds: Double { start.secondsUntilNow }
}

/// The faults of one step on one rank that a test asks for (`FaultInjection`); without one nothing here does anything.
struct StepFaults {
  let rank: Int
  let step: Int

  func beforeReading() { FaultInjection.signal(rank: rank, step: step) }

  func whileReading() throws {
    if FaultInjection.isAsked("throw", rank: rank, step: step) {
      throw TrainingError.unreadable(path: "step \(step)", reason: "a fault that a test asked for")
    }
  }

  func whileExchanging() { FaultInjection.stop("exchange", rank: rank, step: step) }

  /// Makes the losses no number.
  func spoil(_ losses: inout [(index: Int, losses: LossTerms)]) {
    guard FaultInjection.isAsked("nan", rank: rank, step: step),
      let key = losses.first?.losses.terms.first?.key
    else { return }
    losses[0].losses.add(key, sum: .nan, count: 0)
  }

  /// Makes the powers of a gradient too small, on all ranks alike.
  func shrinkPowers(of gradient: GradientSum) {
    if FaultInjection.isAsked("small-powers", rank: 0, step: step) { gradient.lowerPowers(by: 9) }
  }

  func afterUpdate<Goal: Objective>(_ model: borrowing Model<Goal>) {
    if FaultInjection.isAsked("corrupt", rank: rank, step: step) { model.corruptOneSign() }
  }
}
