import BinaryModel
import Foundation
import Kernels

/// Memory for the copy of one rank's parts of a checkpoint, got ready while training goes on: the first touch of so many
/// pages takes longer than the copy itself, for which training waits.
public final class CheckpointMemory: @unchecked Sendable {
  // Sendable: written by one thread at a time; `parts` waits for the one that touches.
  private let base: UnsafeMutableRawPointer
  private let count: Int
  private let touching: BackgroundTask<Int>?

  /// Memory for `count` elements.
  ///
  /// - Parameter ahead: touches it now, on a thread of its own.
  public init(count: Int, ahead: Bool) {
    self.count = count
    let page = 2 << 20
    let bytes = (max(1, count * MemoryLayout<Float>.stride) + page - 1) / page * page
    let base = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: page)
    self.base = base
    // Large pages, where the system has them.
    madvise(base, bytes, MADV_HUGEPAGE)
    guard ahead else {
      touching = nil
      return
    }
    let address = UInt(bitPattern: base)
    touching = BackgroundTask { () throws(CoordinatorError) in
      let memory = UnsafeMutableRawPointer(bitPattern: address)!
      let smallest = 4096
      for offset in stride(from: 0, to: bytes, by: smallest) {
        memory.storeBytes(of: 0, toByteOffset: offset, as: UInt8.self)
      }
      return bytes
    }
  }

  deinit {
    touching?.wait()
    base.deallocate()
  }

  /// Consecutive pieces of the memory.
  fileprivate func parts(_ counts: [Int]) -> [FloatView] {
    precondition(counts.reduce(0, +) == count, "memory of \(count) elements for parts of \(counts)")
    touching?.wait()
    let floats = base.bindMemory(to: Float.self, capacity: count)
    var offset = 0
    return counts.map { count in
      offset += count
      return FloatView(base: floats + offset - count, count: count)
    }
  }
}

/// One rank's parts of the vectors of a checkpoint as they were at one moment, copied, so that training can go on while
/// they are written.
final class CheckpointSnapshot: @unchecked Sendable {
  // Sendable: written in `init` alone, and read by one thread at a time after that.
  private let memory: CheckpointMemory
  let parts: [(vector: CheckpointVector, part: FlatPart)]

  /// - Parameter memory: exactly as much as the parts need; nil takes new memory.
  /// - Cost: copies 4 bytes an element, on all threads of `parallelFor`.
  init(_ live: [(vector: CheckpointVector, part: FlatPart)], memory given: CheckpointMemory?) {
    let counts = live.map(\.part.values.count)
    let memory = given ?? CheckpointMemory(count: counts.reduce(0, +), ahead: false)
    self.memory = memory
    let copies = memory.parts(counts)
    parts = zip(live, copies).map { live, copy in
      (live.vector, FlatPart(start: live.part.start, values: copy))
    }
    let panel = 1 << 20
    var panels: [(source: FloatView, target: FloatView)] = []
    for (live, copy) in zip(live, copies) {
      for start in stride(from: 0, to: copy.count, by: panel) {
        let range = start..<min(copy.count, start + panel)
        panels.append((live.part.values[range], copy[range]))
      }
    }
    parallelFor(panels.count) { index, _ in panels[index].target.copy(from: panels[index].source) }
  }
}
