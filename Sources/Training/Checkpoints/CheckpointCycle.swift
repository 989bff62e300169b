import BinaryModel
import Collectives
import Coordinator
import Foundation
import Planning
import RunSettings

/// The checkpoints of a running job: at most one is on its way while training goes on.
struct CheckpointCycle: ~Copyable {
  private let folder: String
  /// Must be on the disk before a checkpoint counts.
  private let durable: [String]
  private let retention: Retention
  private let keepsBest: Bool
  private let progress: RankProgress
  private var pending: PendingCheckpoint?
  private var begun = ContinuousClock.now
  /// Seconds that training has waited for the pending checkpoint, and for any that no record has told of.
  private var waited = 0.0
  private var untold: Double?
  /// Why the last checkpoint that failed is not there.
  private var failure: CheckpointError?
  /// The step of the newest checkpoint that is there; nil if none is.
  private(set) var savedStep: Int?

  /// - Parameter savedStep: of the checkpoint that the run goes on from, which was verified.
  init(run: String, configuration: RunConfiguration, savedStep: Int?, progress: RankProgress) {
    folder = run + "/checkpoints"
    durable = [run + "/metrics.jsonl"]
    retention = Retention(
      CheckpointStore(path: folder), keepLast: configuration.checkpoint.keep,
      keepEvery: configuration.checkpoint.keepEvery)
    keepsBest = configuration.checkpoint.keepBest
    if let savedStep { retention.noteWhole(savedStep) }
    self.savedStep = savedStep
    self.progress = progress
  }

  /// What the other ranks have to know of the pending checkpoint.
  var notice: UInt8 {
    switch pending {
    case .some(let pending): pending.notice
    case nil: 0
    }
  }

  /// Seconds that training has waited for checkpoints since this was last asked; nil if none has begun.
  mutating func takeStall() -> Double? {
    noteCopy()
    defer { untold = nil }
    return untold
  }

  /// To be called before weights and moments change.
  borrowing func stateWillChange() {
    switch pending {
    case .some(let pending): pending.stateWillChange()
    case nil: break
    }
  }

  /// To be called before weights and moments go while a checkpoint is on its way, which then does not come.
  borrowing func abandon() {
    switch pending {
    case .some(let pending): pending.abandon()
    case nil: break
    }
  }

  /// What `stateWillChange` took is time that training has waited.
  private mutating func noteCopy() {
    let seconds =
      switch pending {
      case .some(let pending): pending.takeCopySeconds()
      case nil: 0.0
      }
    if seconds > 0 {
      waited += seconds
      untold = (untold ?? 0) + seconds
    }
  }

  private mutating func note(stall start: ContinuousClock.Instant) {
    waited += start.secondsUntilNow
    untold = (untold ?? 0) + start.secondsUntilNow
  }

  /// Starts to write the run's state. One that is still on its way is waited for. Collective.
  ///
  /// - Parameter warns: a failure is told as a warning.
  mutating func begin<Goal: Objective>(
    _ run: borrowing TrainingRun<Goal>, journal: inout RunJournal?, clock: inout StopClock,
    world: borrowing World, warns: Bool = true
  ) throws {
    try finish(journal: &journal, clock: &clock, world: world)
    let start = ContinuousClock.now
    begun = start
    waited = 0
    progress.enter(.checkpoint)
    do {
      try world.together { try journal?.flush() }
      let (retention, step, progress) = (retention, run.step, progress)
      let best = keepsBest ? run.course.best.step : nil
      pending = try run.beginCheckpoint(in: folder, durable: durable, world: world) {
        retention.noteWhole(step)
        do throws(CheckpointError) { try retention.apply(best: best, touch: progress.touch) } catch {
          return ["old checkpoints stay: \(error)"]
        }
        return []
      }
    } catch WorldError.agreedFailure(_, let message, _) {
      failed(.notWritten(step: run.step, reason: message), journal: &journal, warns: warns)
    }
    note(stall: start)
  }

  /// Goes on with the pending checkpoint, after the exchange that brought all ranks' notices. Collective.
  mutating func advance(
    _ notices: [StepNotice], journal: inout RunJournal?, clock: inout StopClock, world: borrowing World
  ) throws {
    guard pending != nil else { return }
    let start = ContinuousClock.now
    if let outcome = try pending?.advance(notices.map(\.checkpoint), world: world) {
      conclude(outcome, journal: &journal, clock: &clock)
    }
    waited += start.secondsUntilNow
  }

  /// Waits for the pending checkpoint, if there is one. Collective.
  mutating func finish(
    journal: inout RunJournal?, clock: inout StopClock, world: borrowing World, warns: Bool = true
  ) throws {
    guard pending != nil else { return }
    let start = ContinuousClock.now
    progress.enter(.checkpoint)
    if let outcome = try pending?.finish(world: world) {
      note(stall: start)
      conclude(outcome, journal: &journal, clock: &clock, warns: warns)
    }
  }

  /// Saves the run and waits until it is there. Collective.
  ///
  /// - Throws: on all ranks alike if it is not.
  mutating func save<Goal: Objective>(
    _ run: borrowing TrainingRun<Goal>, journal: inout RunJournal?, clock: inout StopClock,
    world: borrowing World
  ) throws {
    failure = nil
    try begin(run, journal: &journal, clock: &clock, world: world, warns: false)
    try finish(journal: &journal, clock: &clock, world: world, warns: false)
    if let failure { try world.together { throw failure } }
  }

  private mutating func failed(_ error: CheckpointError, journal: inout RunJournal?, warns: Bool) {
    failure = error
    if warns { journal?.message("warning: \(error); the run goes on") }
  }

  private mutating func conclude(
    _ outcome: PendingCheckpoint.Outcome, journal: inout RunJournal?, clock: inout StopClock,
    warns: Bool = true
  ) {
    let step = pending?.step ?? 0
    pending = nil
    let seconds = begun.secondsUntilNow
    switch outcome {
    case .written(_, let warnings):
      savedStep = step
      clock.noteCheckpoint(seconds: seconds)
      journal?.checkpointWritten(step: step)
      journal?.message(
        String(
          format: "checkpoint of step %d written in %.2f s; training waited %.2f s", step, seconds, waited))
      for warning in warnings { journal?.message("warning: \(warning)") }
    case .failed(let error):
      failed(error, journal: &journal, warns: warns)
    }
  }
}
