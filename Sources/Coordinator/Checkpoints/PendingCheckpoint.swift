import Collectives
import Parameters

/// A checkpoint on its way to the disk while training goes on.
///
/// It begins with the files in place (rank 0, all wait). Then each rank does its work of a phase on a thread of its own:
/// `write` (its parts), `digest` (pieces that several wrote), `commit` (rank 0). What it has done travels to the others as a
/// `notice`, with whatever they exchange anyway; once all have finished a phase, or one has failed, all see the same
/// notices and `advance` alike.
public struct PendingCheckpoint: ~Copyable {
  /// What became of it.
  public enum Outcome: Equatable, Sendable {
    /// It is there, verified and durable; with warnings about what came after (old ones that could not be removed).
    case written(path: String, warnings: [String])
    /// It is not there; older ones are as they were.
    case failed(CheckpointError)
  }

  private enum Phase { case write, digest, commit }
  /// What `notice` says of this rank's work in the present phase.
  private enum Progress: UInt8 {
    case working = 1
    case done, failed
  }

  public let step: Int
  private let rank: Int
  private let draft: CheckpointDraft
  private let snapshot: CheckpointSnapshot
  private let afterCommit: @Sendable () -> [String]
  private let touch: @Sendable () -> Void
  private var phase = Phase.write
  /// What the rank does in this phase.
  private var task: BackgroundTask<Work>?
  private var digests = CheckpointDraft.Digests()

  /// What a task brings.
  private enum Work: Sendable {
    case digests(CheckpointDraft.Digests)
    case warnings([String])
  }

  /// Makes the files, and starts to write. Collective.
  ///
  /// - Parameters:
  ///   - afterCommit: called on rank 0 once the checkpoint is there; returns warnings.
  ///   - touch: called on the way, as a sign of life.
  /// - Throws: `WorldError` if the ranks lost each other. Files that cannot be made are an outcome.
  init(
    _ draft: CheckpointDraft, snapshot: CheckpointSnapshot, world: borrowing World,
    afterCommit: @escaping @Sendable () -> [String], touch: @escaping @Sendable () -> Void
  ) throws(WorldError) {
    step = draft.state.step
    rank = world.rank
    self.draft = draft
    self.snapshot = snapshot
    self.afterCommit = afterCommit
    self.touch = touch
    var failure: CheckpointError?
    if rank == 0 {
      do throws(CheckpointError) { try draft.create() } catch { failure = error }
    }
    let isThere = try world.maximum(failure == nil ? 0 : 1) == 0
    task = BackgroundTask { [failure, rank = world.rank] () throws(CheckpointError) in
      if let failure { throw failure }
      guard isThere else { return .digests([:]) }
      let digests = try draft.write(snapshot, touch: touch)
      if rank == 0 { try draft.writeState() }
      return .digests(digests)
    }
  }

  /// To be called before the training thread changes what is being saved; see `CheckpointSnapshot.stateWillChange`.
  public borrowing func stateWillChange() { snapshot.stateWillChange() }

  /// To be called before the memory of what is being saved goes, when the outcome does not matter any more.
  public borrowing func abandon() { snapshot.abandon() }

  /// Seconds that `stateWillChange` has taken since this was last asked.
  public borrowing func takeCopySeconds() -> Double { snapshot.takeCopySeconds() }

  /// What the other ranks have to know; never 0.
  public var notice: UInt8 {
    guard let task else { return Progress.done.rawValue }
    return switch task.outcome {
    case nil: Progress.working.rawValue
    case .success: Progress.done.rawValue
    case .failure: Progress.failed.rawValue
    }
  }

  /// Goes on to the next phase if every rank is ready. Collective; all pass the same `notices`, those of all ranks.
  ///
  /// - Returns: the outcome, on all ranks alike; nil while it is under way.
  /// - Throws: `WorldError` if the ranks lost each other.
  /// - Cost: nothing while a rank works; else a small message at the end of a phase.
  public mutating func advance(_ notices: [UInt8], world: borrowing World) throws(WorldError) -> Outcome? {
    if notices.contains(Progress.working.rawValue) { return nil }
    if notices.contains(Progress.failed.rawValue) { return try fail(world) }
    let (draft, snapshot, touch) = (draft, snapshot, touch)
    if case .success(.digests(let own))? = task?.outcome { digests.merge(own) { $1 } }
    switch phase {
    case .write:
      phase = .digest
      task = BackgroundTask { [rank] () throws(CheckpointError) in
        .digests(try draft.sharedDigests(snapshot, rank: rank, touch: touch))
      }
    case .digest:
      phase = .commit
      let lines = digests.map { "\($0) \($1)" }.joined(separator: "\n")
      let all = try world.allGather(Array(lines.utf8))
      task = nil
      if rank == 0 {
        for line in all.flatMap({ String(decoding: $0, as: UTF8.self).split(separator: "\n") }) {
          let words = line.split(separator: " ")
          digests[Int(words[0])!] = String(words[1])
        }
        task = BackgroundTask { [digests, afterCommit] () throws(CheckpointError) in
          try draft.commit(digests)
          return .warnings(afterCommit())
        }
      }
    case .commit:
      if case .success(.warnings(let warnings))? = task?.outcome {
        return .written(path: draft.path, warnings: warnings)
      }
      return .written(path: draft.path, warnings: [])
    }
    return nil
  }

  /// Waits until it is done. Collective.
  public mutating func finish(world: borrowing World) throws(WorldError) -> Outcome {
    while true {
      task?.wait()
      if let outcome = try advance(world.allGather([notice]).map { $0[0] }, world: world) { return outcome }
    }
  }

  /// All hear the error of the lowest rank that has one; rank 0 removes the hidden folder.
  private func fail(_ world: borrowing World) throws(WorldError) -> Outcome {
    var own = ""
    if case .failure(let error)? = task?.outcome { own = error.description }
    let reasons = try world.allGather(Array(own.utf8)).map { String(decoding: $0, as: UTF8.self) }
    // The error that matters is the first one; what cannot be removed now is removed at the next start.
    if rank == 0 { try? draft.discard() }
    return .failed(.notWritten(step: step, reason: reasons.first { !$0.isEmpty } ?? "unknown"))
  }
}
