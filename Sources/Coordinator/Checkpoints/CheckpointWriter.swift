import Collectives
import Kernels
import Parameters

/// Writes checkpoints with all ranks of a world.
public struct CheckpointWriter {
  private let checkpoints: String
  private let tensors: CheckpointTensors

  /// A writer into the folder `checkpoints` of a run, which exists.
  public init(checkpoints: String, tensors: CheckpointTensors) {
    self.checkpoints = checkpoints
    self.tensors = tensors
  }

  /// Writes the checkpoint of `state.step` and returns its folder. Collective: each rank gives its parts of the vectors;
  /// together the parts of a vector are all of it, without overlaps. `state` counts on rank 0.
  ///
  /// It is there, verified and durable, or not at all: an error on any rank is thrown on all alike, the hidden folder is
  /// removed, and older checkpoints stay as they are.
  ///
  /// - Throws: `CheckpointError.notWritten` on all ranks alike (rethrown inside `World.together`, it ends the job with
  ///   one line); `world` if the ranks lost each other.
  /// - Cost: writes 4 bytes an element of each vector and reads them back, hashed both ways, all shared among the ranks.
  public func write(
    _ world: borrowing World, state: CheckpointState, parts: [(vector: CheckpointVector, part: FlatPart)]
  ) throws(CheckpointError) -> String {
    let outcome: PendingCheckpoint.Outcome
    do throws(WorldError) {
      var pending = try begin(world, state: state, parts: parts)
      outcome = try pending.finish(world: world)
    } catch {
      throw .world(error)
    }
    switch outcome {
    case .written(let path, _): return path
    case .failed(let error): throw error
    }
  }

  /// Starts to write a checkpoint, as `write` does, in the background: returns once the files are there to be written to.
  ///
  /// The parts are read while the caller goes on. Before it changes them it calls `PendingCheckpoint.stateWillChange`, and
  /// before their memory goes `abandon`.
  ///
  /// - Parameters:
  ///   - durable: files that must be on the disk before the checkpoint counts.
  ///   - afterCommit: called on rank 0, on another thread, once the checkpoint is there; returns warnings.
  ///   - touch: called on the way, on another thread, as a sign of life.
  public func begin(
    _ world: borrowing World, state: CheckpointState, parts: [(vector: CheckpointVector, part: FlatPart)],
    durable: [String] = [], afterCommit: @escaping @Sendable () -> [String] = { [] },
    touch: @escaping @Sendable () -> Void = {}
  ) throws(WorldError) -> PendingCheckpoint {
    try checkTiling(world, parts)
    return try PendingCheckpoint(
      CheckpointDraft(checkpoints: checkpoints, tensors: tensors, state: state, durable: durable),
      snapshot: CheckpointSnapshot(parts, tensors: tensors), world: world, afterCommit: afterCommit,
      touch: touch
    )
  }

  /// The ranks' parts of each vector together are all of it, without overlaps.
  private func checkTiling(
    _ world: borrowing World, _ parts: [(vector: CheckpointVector, part: FlatPart)]
  ) throws(WorldError) {
    let own = tensors.vectors.enumerated().flatMap { index, vector in
      parts.filter { $0.vector == vector }.flatMap {
        [index, $0.part.range.lowerBound, $0.part.range.upperBound]
      }
    }.map(Int64.init)
    let all = try world.allGather(own.withUnsafeBytes { Array($0) }).flatMap { bytes in
      bytes.withUnsafeBytes { raw in
        stride(from: 0, to: raw.count, by: 8).map {
          Int(raw.loadUnaligned(fromByteOffset: $0, as: Int64.self))
        }
      }
    }
    for index in tensors.vectors.indices {
      let ranges = stride(from: 0, to: all.count, by: 3).filter { all[$0] == index }
        .map { all[$0 + 1]..<all[$0 + 2] }.filter { !$0.isEmpty }.sorted { $0.lowerBound < $1.lowerBound }
      var end = 0
      for range in ranges {
        precondition(
          range.lowerBound == end, "the ranks' parts of a vector leave or overlap at element \(end)")
        end = range.upperBound
      }
      precondition(
        end == tensors.layout.elementCount,
        "the ranks' parts end at \(end) of \(tensors.layout.elementCount) elements")
    }
  }
}
