import Synchronization

/// Payload bytes that this rank has sent to other ranks, by operation.
struct Traffic: ~Copyable {
  private let broadcast = Atomic<Int>(0)
  private let allGather = Atomic<Int>(0)
  private let reduceScatter = Atomic<Int>(0)
  private let allReduce = Atomic<Int>(0)
  private let scatter = Atomic<Int>(0)

  func add(_ bytes: Int, by operation: WorldOperation) {
    switch operation {
    case .broadcast: broadcast.wrappingAdd(bytes, ordering: .relaxed)
    case .allGather: allGather.wrappingAdd(bytes, ordering: .relaxed)
    case .reduceScatter: reduceScatter.wrappingAdd(bytes, ordering: .relaxed)
    case .allReduce: allReduce.wrappingAdd(bytes, ordering: .relaxed)
    case .scatter: scatter.wrappingAdd(bytes, ordering: .relaxed)
    case .start, .finish, .barrier, .maximum, .counters: break
    }
  }

  func bytes(by operation: WorldOperation) -> Int {
    switch operation {
    case .broadcast: broadcast.load(ordering: .relaxed)
    case .allGather: allGather.load(ordering: .relaxed)
    case .reduceScatter: reduceScatter.load(ordering: .relaxed)
    case .allReduce: allReduce.load(ordering: .relaxed)
    case .scatter: scatter.load(ordering: .relaxed)
    case .start, .finish, .barrier, .maximum, .counters: 0
    }
  }
}
