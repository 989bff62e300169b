import Collectives
import Coordinator
import Telemetry

/// The steps of a run, with evaluations, checkpoints and stops between them.
struct TrainingLoop {
  let inputs: RunInputs
  /// The folder of the run's checkpoints.
  let checkpoints: String

  /// Trains to the last step, or until a stop signal reaches any rank.
  ///
  /// - Parameter step: updates done, kept current for the caller's error handling.
  func run(
    _ run: inout PretrainingRun, journal: inout RunJournal?, step: inout Int, world: borrowing World
  ) throws -> ExitCode {
    let configuration = inputs.configuration
    let steps = configuration.training.steps
    var saved = run.step
    while run.step < steps {
      if let signal = try stopSignal(world: world) {
        if saved != run.step || run.step == 0 {
          try save(&run, journal: &journal, isLast: true, world: world)
        }
        journal?.record(.preempted, step: run.step, reason: signal)
        journal?.message("\(signal) came: saved step \(run.step); the same command goes on from there")
        journal?.finish()
        return .preempted
      }
      // Not within `journal?.…`, whose arguments only rank 0 would evaluate.
      let record = try run.update(world: world)
      journal?.record(record)
      step = run.step
      if run.step % configuration.evaluation.every == 0 || run.step == steps {
        let evaluation = try run.evaluate(world: world)
        journal?.record(evaluation)
      }
      if run.step % configuration.checkpoint.every == 0 && run.step < steps {
        if try save(&run, journal: &journal, isLast: false, world: world) { saved = run.step }
      }
    }
    if saved != steps || steps == 0 { try save(&run, journal: &journal, isLast: true, world: world) }
    journal?.record(.finished, step: run.step)
    journal?.message(
      "finished after step \(run.step); weights in \(checkpointFolder(run.step))/model.safetensors")
    journal?.finish()
    return .finished
  }

  private func checkpointFolder(_ step: Int) -> String { "\(checkpoints)/\(checkpointName(step: step))" }

  /// Writes a checkpoint and removes old ones. A failure is told and older checkpoints stay; it ends the run only
  /// where nothing comes after (`isLast`).
  ///
  /// - Returns: whether the checkpoint is there, on all ranks alike.
  @discardableResult
  private func save(
    _ run: inout PretrainingRun, journal: inout RunJournal?, isLast: Bool, world: borrowing World
  ) throws -> Bool {
    let step = run.step
    do {
      try world.together { try journal?.synchronise() }
      _ = try run.save(to: checkpoints, world: world)
    } catch {
      // All ranks have the same error here: they agree on it, so that one line comes out.
      if isLast { try world.together { throw error } }
      journal?.message("warning: \(error); the run goes on")
      return false
    }
    if world.rank == 0 {
      do throws(CoordinatorError) {
        try CheckpointStore(path: checkpoints).prune(keepLast: inputs.configuration.checkpoint.keep)
      } catch {
        journal?.message("warning: old checkpoints stay: \(error)")
      }
      journal?.record(.running, step: step)
    }
    return true
  }

  /// The stop signal of the lowest rank that has one, agreed on by all; nil to go on.
  private func stopSignal(world: borrowing World) throws -> String? {
    let own = StopSignals.received
    guard try world.maximum(own == nil ? 0 : 1) == 1 else { return nil }
    let all = try world.allGather(Array((own ?? "").utf8))
    return all.first { !$0.isEmpty }.map { String(decoding: $0, as: UTF8.self) }
  }
}
