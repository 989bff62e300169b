import BinaryModel
import Collectives
import Kernels

/// Writes checkpoints with all ranks of a world.
public struct CheckpointWriter {
  private let checkpoints: String
  private let layout: ParameterLayout

  /// A writer into the folder `checkpoints` of a run, which exists.
  public init(checkpoints: String, layout: ParameterLayout) {
    self.checkpoints = checkpoints
    self.layout = layout
  }

  /// Writes the checkpoint of `state.step` and returns its folder. Collective: each rank gives its parts of the three
  /// vectors; together the parts of a vector are all of it, without overlaps. `state` counts on rank 0.
  ///
  /// It is there, verified and durable, or not at all: an error on any rank is thrown on all alike, the hidden folder is
  /// removed, and older checkpoints stay as they are.
  ///
  /// - Throws: `CoordinatorError.notWritten` on all ranks alike (rethrown inside `World.together`, it ends the job with
  ///   one line); `world` if the ranks lost each other.
  /// - Cost: writes 12 bytes an element, reads them twice (comparison, SHA-256), all shared among the ranks.
  public func write(
    _ world: borrowing World, state: CheckpointState, parameters: FlatPart, firstMoments: FlatPart,
    secondMoments: FlatPart
  ) throws(CoordinatorError) -> String {
    let parts = [
      (CheckpointVector.parameters, parameters), (.firstMoments, firstMoments),
      (.secondMoments, secondMoments),
    ]
    let draft = CheckpointDraft(checkpoints: checkpoints, layout: layout, state: state)
    do throws(WorldError) {
      try checkTiling(world, parts.map(\.1.range))
      try world.together { if world.rank == 0 { try draft.create() } }
      try world.together { for (vector, part) in parts { try draft.write(vector, part) } }
      let own = try world.together { try draft.digests(rank: world.rank, size: world.size) }
      let all = try world.allGather(Array(own.joined(separator: "\n").utf8))
      try world.together {
        if world.rank == 0 {
          try draft.commit(
            all.map { String(decoding: $0, as: UTF8.self).split(separator: "\n").map(String.init) })
        }
      }
      return draft.path
    } catch {
      guard case .agreedFailure(_, let reason, _) = error else { throw .world(error) }
      // The error that matters is the first one; what cannot be removed now is removed at the next start.
      if world.rank == 0 { try? draft.discard() }
      throw .notWritten(step: state.step, reason: reason)
    }
  }

  /// The ranks' ranges of each vector follow one another from 0 to its end.
  private func checkTiling(_ world: borrowing World, _ own: [Range<Int>]) throws(WorldError) {
    let bounds = own.flatMap { [Int64($0.lowerBound), Int64($0.upperBound)] }
    let gathered = try world.allGather(bounds.withUnsafeBytes { Array($0) })
    let all = gathered.map { bytes in
      bytes.withUnsafeBytes { raw in
        own.indices.flatMap { vector in
          [0, 1].map { Int(raw.loadUnaligned(fromByteOffset: (2 * vector + $0) * 8, as: Int64.self)) }
        }
      }
    }
    for vector in own.indices {
      let ranges = all.map { $0[2 * vector]..<$0[2 * vector + 1] }.filter { !$0.isEmpty }
        .sorted { $0.lowerBound < $1.lowerBound }
      var end = 0
      for range in ranges {
        precondition(
          range.lowerBound == end, "the ranks' parts of a vector leave or overlap at element \(end)")
        end = range.upperBound
      }
      precondition(
        end == layout.elementCount, "the ranks' parts end at \(end) of \(layout.elementCount) elements")
    }
  }
}
