import Kernels
import Parameters
import Synchronization

/// One rank's parts of the vectors of a checkpoint as they are at one moment, read block by block on a thread of its own
/// from where training keeps them.
///
/// The parts change only in an update, a whole forward and backward later, and by then a writer has usually read them.
/// What it has not is copied by `stateWillChange`, and read from the copy, so an update never waits for a disk.
public final class CheckpointSnapshot: @unchecked Sendable {
  // Sendable: `live` is read under the lock alone, and never after `stateWillChange` or `abandon`.

  /// The most bytes that are read at once, and the memory that a writer needs.
  public static let blockSize = 4 << 20

  private struct State {
    /// Blocks that were read.
    var done = 0
    /// Blocks from `done` on, once the state has changed, the next one last.
    var copies: [BlockCopy]?
    var isAbandoned = false
    /// Seconds that `stateWillChange` took.
    var copySeconds = 0.0
  }

  let stretches: [CheckpointStretch]
  private let blocks: [CheckpointStretch.Block]
  private let live: [FlatPart]
  private let state = Mutex(State())

  /// - Parameter parts: stay alive and unchanged until `stateWillChange` or `abandon`.
  public init(
    _ parts: [(vector: CheckpointVector, part: FlatPart)], tensors: CheckpointTensors,
    blockSize: Int = CheckpointSnapshot.blockSize
  ) {
    live = parts.map(\.part)
    stretches = tensors.stretches(
      parts.map { ($0.vector, $0.part.range) }, blockSize: blockSize)
    blocks = stretches.flatMap(\.blocks)
  }

  /// Copies the next block, in the order of `stretches`, to `target`, which has its size. One thread reads.
  ///
  /// - Returns: false if the snapshot was abandoned.
  func readNext(into target: UnsafeMutableRawBufferPointer) -> Bool {
    let copy: BlockCopy?? = state.withLock { state in
      if state.isAbandoned { return nil }
      defer { state.done += 1 }
      if state.copies != nil { return state.copies!.removeLast() }
      read(blocks[state.done], into: target)
      return .some(nil)
    }
    guard let copy else { return false }
    if let copy { target.copyMemory(from: UnsafeRawBufferPointer(copy.buffer.view.bytes)) }
    return true
  }

  /// To be called by the training thread before it changes what the parts refer to: copies what has not been read.
  ///
  /// - Cost: nothing once all is read; else copies the rest, on all threads of `parallelFor`.
  public func stateWillChange() {
    state.withLock { state in
      if state.copies != nil || state.done == blocks.count { return }
      let start = ContinuousClock.now
      let rest = blocks[state.done...]
      let copies = rest.map { BlockCopy($0.bytes.count) }
      parallelFor(rest.count) { index, _ in
        read(rest[rest.startIndex + index], into: copies[index].buffer.view.bytes)
      }
      state.copies = copies.reversed()
      state.copySeconds += start.duration(to: .now) / .seconds(1)
    }
  }

  /// From now on nothing is read any more; a writer fails. To be called before the parts' memory goes.
  func abandon() { state.withLock { $0.isAbandoned = true } }

  /// Seconds that `stateWillChange` has taken since this was last asked.
  func takeCopySeconds() -> Double {
    state.withLock { state in
      defer { state.copySeconds = 0 }
      return state.copySeconds
    }
  }

  private func read(_ block: CheckpointStretch.Block, into target: UnsafeMutableRawBufferPointer) {
    precondition(target.count == block.bytes.count, "\(block.bytes.count) bytes into \(target.count)")
    var position = 0
    for (part, elements) in block.runs {
      let (start, values) = (live[part].start, live[part].values)
      let source = values[elements.lowerBound - start..<elements.upperBound - start].bytes
      UnsafeMutableRawBufferPointer(rebasing: target[position..<position + source.count])
        .copyMemory(from: UnsafeRawBufferPointer(source))
      position += source.count
    }
  }
}

/// Memory of one block, which goes back to the system with its owner.
private final class BlockCopy: @unchecked Sendable {
  // Sendable: written before it is handed on, and read by one thread.
  let buffer: FloatBuffer

  init(_ bytes: Int) { buffer = FloatBuffer(count: bytes / MemoryLayout<Float>.size) }
}
