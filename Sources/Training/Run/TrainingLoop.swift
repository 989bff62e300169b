import BinaryModel
import Collectives
import Coordinator
import Planning
import RunSettings
import Telemetry

/// The steps of a run, with evaluations, checkpoints and stops between them.
struct TrainingLoop<Goal: Objective>: ~Copyable {
  private let configuration: RunConfiguration
  private let progress: RankProgress
  private var checkpoints: CheckpointCycle
  private var clock: StopClock
  /// The last word of every rank.
  private var notices: [StepNotice] = []

  /// - Parameters:
  ///   - savedStep: of the checkpoint that the run goes on from.
  ///   - start: when the job started.
  init(
    _ inputs: RunInputs<Goal>, run: String, savedStep: Int?, start: ContinuousClock.Instant,
    progress: RankProgress
  ) {
    configuration = inputs.configuration
    self.progress = progress
    checkpoints = CheckpointCycle(
      run: run, configuration: inputs.configuration, savedStep: savedStep, progress: progress)
    clock = StopClock(
      start: start, limit: inputs.configuration.stopAfter, bytes: inputs.tensors.byteCount,
      evaluationSteps: Double(inputs.heldOut.sampleIDs.count)
        / Double(inputs.configuration.training.globalBatch))
  }

  /// Trains to the last step, or until evaluations get no better, a stop signal reaches any rank, or the job's time is up.
  ///
  /// - Parameter step: updates done, kept current for the caller's error handling.
  mutating func run(
    _ run: inout TrainingRun<Goal>, journal: inout RunJournal?, step: inout Int, world: borrowing World
  ) throws -> ExitCode {
    do { return try train(&run, journal: &journal, step: &step, world: world) } catch {
      // What it is written from goes with the run.
      checkpoints.abandon()
      throw error
    }
  }

  private mutating func train(
    _ run: inout TrainingRun<Goal>, journal: inout RunJournal?, step: inout Int, world: borrowing World
  ) throws -> ExitCode {
    let steps = configuration.training.steps
    // A checkpoint of an evaluated step has the signs of that evaluation, so what flipped after it is known.
    if run.earlierSigns == nil, isEvaluated(after: run.step) { run.noteSigns(world: world) }
    while run.step < steps, !hasWaitedEnough(run) {
      if let reason = stopReason {
        try save(run, journal: &journal, world: world)
        journal?.end(
          .preempted, step: run.step, reason: reason,
          "\(reason): saved step \(run.step); the same command goes on from there")
        return .preempted
      }
      try update(&run, journal: &journal, world: world)
      step = run.step
      try checkpoints.advance(notices, journal: &journal, clock: &clock, world: world)
      var isBetter = false
      if isEvaluated(after: run.step) {
        isBetter = try evaluate(&run, journal: &journal, world: world)
      }
      let isDue =
        run.step % configuration.checkpoint.every == 0 || isBetter && configuration.checkpoint.keepBest
      if isDue && run.step < steps {
        try checkpoints.begin(run, journal: &journal, clock: &clock, world: world)
      }
    }
    try save(run, journal: &journal, world: world)
    progress.enter(.ending)
    let (best, weights) = (run.course.best, "weights in checkpoints/\(checkpointName(step: run.step))")
    let early =
      run.step < steps
      ? "no better evaluation since step \(best.step ?? 0) (evaluation.patience \(configuration.evaluation.patience))"
      : ""
    journal?.end(
      .finished, step: run.step, reason: early,
      "finished after step \(run.step)\(early.isEmpty ? "" : ", early: \(early)"); \(weights)/model.safetensors"
    )
    return .finished
  }

  /// Whether as many evaluations as the configuration allows were no better than the best before.
  private func hasWaitedEnough(_ run: borrowing TrainingRun<Goal>) -> Bool {
    let patience = configuration.evaluation.patience
    return patience > 0 && run.course.best.since >= patience
  }

  /// One step, its record, and what follows from it.
  private mutating func update(
    _ run: inout TrainingRun<Goal>, journal: inout RunJournal?, world: borrowing World
  ) throws {
    let start = ContinuousClock.now
    // What comes before the next word that can stop the run: the evaluation of this step and that of the next one.
    let evaluations = [run.step + 1, run.step + 2].count { isEvaluated(after: $0) }
    let update = try run.update(
      world: world, stateWillChange: { checkpoints.stateWillChange() },
      notice: { ownNotice(isSpeaker: world.rank == 0, evaluations: evaluations) })
    notices = update.notices
    var record = update.record
    if let stall = checkpoints.takeStall() {
      record.measured.append(StepRecord.Extra("checkpoint_stall_seconds", .number(stall)))
    }
    journal?.record(record)
    if let reason = update.skipped {
      journal?.skipped(step: run.step, reason: reason)
      if run.course.skippedInARow > configuration.training.maximumSkippedSteps {
        let (step, count) = (run.step, run.course.skippedInARow)
        try world.together {
          throw TrainingError.tooManySkipped(step: step, count: count, reason: reason)
        }
      }
    }
    let every = configuration.training.replicaCheckEvery
    if every > 0 && world.size > 1 && run.step % every == 0 {
      try world.together { try run.compareReplicas(world: world) }
    }
    clock.noteStep(seconds: start.secondsUntilNow)
  }

  /// Evaluates the run as it is now; returns whether it is better than ever before.
  @discardableResult
  mutating func evaluate(
    _ run: inout TrainingRun<Goal>, journal: inout RunJournal?, world: borrowing World
  ) throws -> Bool {
    let start = ContinuousClock.now
    let evaluations = isEvaluated(after: run.step + 1) ? 1 : 0
    let (record, later) = try run.evaluate(world: world) {
      clock.noteEvaluation(seconds: start.secondsUntilNow)
      return ownNotice(isSpeaker: world.rank == 0, evaluations: evaluations)
    }
    notices = later
    journal?.record(record)
    if let vitals = try run.vitals(world: world) { journal?.record(vitals) }
    return run.course.best.note(record)
  }

  /// Whether the held-out text is looked at after the update number `step`.
  private func isEvaluated(after step: Int) -> Bool {
    step % configuration.evaluation.every == 0 || step == configuration.training.steps
  }

  /// Saves the run as it is, unless it is saved.
  private mutating func save(
    _ run: borrowing TrainingRun<Goal>, journal: inout RunJournal?, world: borrowing World
  ) throws {
    try checkpoints.finish(journal: &journal, clock: &clock, world: world)
    if checkpoints.savedStep != run.step {
      try checkpoints.save(run, journal: &journal, clock: &clock, world: world)
    }
  }

  /// The clock of rank 0 counts.
  ///
  /// - Parameter evaluations: see `StopClock.isTimeUp`.
  private func ownNotice(isSpeaker: Bool, evaluations: Int) -> StepNotice {
    StepNotice(
      signal: StopSignals.receivedNumber, isTimeUp: isSpeaker && clock.isTimeUp(evaluations: evaluations),
      checkpoint: checkpoints.notice)
  }

  /// Why to stop, agreed on by all; nil to go on.
  private var stopReason: String? {
    if let signal = notices.first(where: { $0.signal != 0 })?.signal {
      return StopSignals.name(of: signal)
    }
    return notices.contains { $0.isTimeUp } ? "stop_after" : nil
  }
}
