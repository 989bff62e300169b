import BinaryModel
import Collectives

/// A checkpoint on its way to the disk while training goes on.
///
/// Each rank does its work of a phase on a thread of its own: `create` (rank 0), `write` (its parts), `digest` (its pieces),
/// `commit` (rank 0). What it has done travels to the others as a `notice`, with whatever they exchange anyway; once all
/// have finished a phase, or one has failed, all see the same notices and `advance` alike.
public struct PendingCheckpoint: ~Copyable {
  /// What became of it.
  public enum Outcome: Equatable, Sendable {
    /// It is there, verified and durable; with warnings about what came after (old ones that could not be removed).
    case written(path: String, warnings: [String])
    /// It is not there; older ones are as they were.
    case failed(CoordinatorError)
  }

  private enum Phase: Int { case create, write, digest, commit }
  /// What `notice` says of this rank's work in the present phase.
  private enum Progress: UInt8 {
    case working = 1
    case done, failed
  }

  public let step: Int
  private let rank: Int
  private let size: Int
  private let draft: CheckpointDraft
  private let snapshot: CheckpointSnapshot
  private let afterCommit: @Sendable () -> [String]
  private let touch: @Sendable () -> Void
  private var phase = Phase.create
  /// What the rank does in this phase; its lines are digests, or warnings.
  private var task: BackgroundTask<[String]>?

  /// Takes a copy of `parts`, this rank's of each vector, and starts.
  ///
  /// - Parameters:
  ///   - memory: for the copy; nil takes new memory.
  ///   - afterCommit: called on rank 0 once the checkpoint is there; returns warnings.
  ///   - touch: called on the way, as a sign of life.
  /// - Cost: copies the parts.
  init(
    _ draft: CheckpointDraft, parts: [(vector: CheckpointVector, part: FlatPart)], rank: Int, size: Int,
    memory: CheckpointMemory?, afterCommit: @escaping @Sendable () -> [String],
    touch: @escaping @Sendable () -> Void
  ) {
    step = draft.state.step
    self.rank = rank
    self.size = size
    self.draft = draft
    self.afterCommit = afterCommit
    self.touch = touch
    snapshot = CheckpointSnapshot(parts, memory: memory)
    if rank == 0 {
      task = BackgroundTask { () throws(CoordinatorError) in
        try draft.create()
        return []
      }
    }
  }

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
    switch phase {
    case .create:
      phase = .write
      task = BackgroundTask { () throws(CoordinatorError) in
        for vector in CheckpointVector.allCases {
          let own = snapshot.parts.filter { $0.vector == vector }
          try draft.write(vector, own.map(\.part), touch: touch)
        }
        return []
      }
    case .write:
      phase = .digest
      task = BackgroundTask { [rank, size] () throws(CoordinatorError) in
        try draft.digests(rank: rank, size: size, touch: touch)
      }
    case .digest:
      phase = .commit
      let all = try world.allGather(Array(lines.joined(separator: "\n").utf8))
      task = nil
      if rank == 0 {
        let digests = all.map { String(decoding: $0, as: UTF8.self).split(separator: "\n").map(String.init) }
        task = BackgroundTask { [afterCommit] () throws(CoordinatorError) in
          try draft.commit(digests)
          return afterCommit()
        }
      }
    case .commit:
      return .written(path: draft.path, warnings: lines)
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

  /// Results of this rank's task, which has succeeded.
  private var lines: [String] {
    if case .success(let lines)? = task?.outcome { lines } else { [] }
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
