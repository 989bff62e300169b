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
    _ world: borrowing World, state: CheckpointState, parameters: [FlatPart], firstMoments: [FlatPart],
    secondMoments: [FlatPart]
  ) throws(CoordinatorError) -> String {
    let outcome: PendingCheckpoint.Outcome
    do throws(WorldError) {
      var pending = try begin(
        world, state: state, parameters: parameters, firstMoments: firstMoments, secondMoments: secondMoments)
      outcome = try pending.finish(world: world)
    } catch {
      throw .world(error)
    }
    switch outcome {
    case .written(let path, _): return path
    case .failed(let error): throw error
    }
  }

  /// Starts to write a checkpoint, as `write` does, in the background: returns once the parts are copied.
  ///
  /// - Parameters:
  ///   - memory: for the copy, got ready before; nil takes new memory.
  ///   - durable: files that must be on the disk before the checkpoint counts.
  ///   - afterCommit: called on rank 0, on another thread, once the checkpoint is there; returns warnings.
  ///   - touch: called on the way, on another thread, as a sign of life.
  /// - Cost: copies 12 bytes an element of the parts.
  public func begin(
    _ world: borrowing World, state: CheckpointState, parameters: [FlatPart], firstMoments: [FlatPart],
    secondMoments: [FlatPart], memory: CheckpointMemory? = nil, durable: [String] = [],
    afterCommit: @escaping @Sendable () -> [String] = { [] },
    touch: @escaping @Sendable () -> Void = {}
  ) throws(WorldError) -> PendingCheckpoint {
    try checkTiling(world, [parameters, firstMoments, secondMoments].map { $0.map(\.range) })
    return PendingCheckpoint(
      CheckpointDraft(checkpoints: checkpoints, layout: layout, state: state, durable: durable),
      parts: parameters.map { (.parameters, $0) } + firstMoments.map { (.firstMoments, $0) }
        + secondMoments.map { (.secondMoments, $0) },
      rank: world.rank, size: world.size, memory: memory, afterCommit: afterCommit, touch: touch)
  }

  /// The ranks' ranges of each vector, put in order, follow one another from 0 to its end.
  private func checkTiling(_ world: borrowing World, _ own: [[Range<Int>]]) throws(WorldError) {
    for ranges in own {
      let bounds = ranges.flatMap { [Int64($0.lowerBound), Int64($0.upperBound)] }
      let gathered = try world.allGather(bounds.withUnsafeBytes { Array($0) })
      let all = gathered.flatMap { bytes in
        bytes.withUnsafeBytes { raw in
          stride(from: 0, to: raw.count, by: 16).map { offset in
            let bounds = [offset, offset + 8].map { raw.loadUnaligned(fromByteOffset: $0, as: Int64.self) }
            return Int(bounds[0])..<Int(bounds[1])
          }
        }
      }
      var end = 0
      for range in all.filter({ !$0.isEmpty }).sorted(by: { $0.lowerBound < $1.lowerBound }) {
        precondition(
          range.lowerBound == end, "the ranks' parts of a vector leave or overlap at element \(end)")
        end = range.upperBound
      }
      precondition(
        end == layout.elementCount, "the ranks' parts end at \(end) of \(layout.elementCount) elements")
    }
  }
}
