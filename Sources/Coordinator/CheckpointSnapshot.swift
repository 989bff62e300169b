import BinaryModel
import Kernels

/// One rank's parts of the vectors of a checkpoint as they were at one moment, copied, so that training can go on while
/// they are written.
final class CheckpointSnapshot: @unchecked Sendable {
  // Sendable: written in `init` alone, and read by one thread at a time after that.
  private let memory: UnsafeMutablePointer<Float>
  let parts: [(vector: CheckpointVector, part: FlatPart)]

  /// - Cost: allocates and copies 4 bytes an element, on all threads of `parallelFor`.
  init(_ live: [(vector: CheckpointVector, part: FlatPart)]) {
    let count = live.reduce(0) { $0 + $1.part.values.count }
    // Not zeroed first, as a FloatBuffer would be: that is a second pass while training waits.
    memory = UnsafeMutablePointer<Float>.allocate(capacity: max(1, count))
    var offset = 0
    parts = live.map { [memory] vector, part in
      let copy = FloatView(base: memory + offset, count: part.values.count)
      offset += part.values.count
      Self.copy(part.values, to: copy)
      return (vector, FlatPart(start: part.start, values: copy))
    }
  }

  private static func copy(_ source: FloatView, to target: FloatView) {
    let panel = 1 << 20
    parallelFor((source.count + panel - 1) / panel) { index, _ in
      let range = index * panel..<min(source.count, (index + 1) * panel)
      target[range].copy(from: source[range])
    }
  }

  deinit { memory.deallocate() }
}
