import CMPI
import Foundation
import Kernels
import Synchronization

/// The reduce-scatter of a step's gradient while backward still makes it: a thread exchanges the buckets, the last one first,
/// as they become complete. The sums are those of `World.reduceScatter`, bit for bit.
///
/// A step goes `begin`, `complete` with ever smaller numbers down to 0, `finish`. From `begin` to `finish` the thread alone
/// uses MPI, and nobody else touches what is complete; so nothing may be thrown in between.
public final class GradientExchange: @unchecked Sendable {
  // Sendable: the caller alone uses `work`; the thread reads `nodes` and `result`, which are set before it starts and stay
  // until it has ended; the elements they point to are handed to it by `ready` and taken back by `ended`.
  public let reduction: TreeReduction
  /// Where each bucket begins.
  private let starts: [Int]
  private var work: Work?
  private var nodes: [(node: LaneTree.Node, view: FloatView)] = []
  private var result: FloatView?
  /// Counts the buckets that are complete and not yet taken up by the thread.
  private let ready = DispatchSemaphore(value: 0)
  private let ended = DispatchSemaphore(value: 0)
  private let state = Mutex(State())

  private struct Work {
    let additions: LaneAdditions
    /// The lowest bucket that is complete.
    var first: Int
    let count: Int
  }

  /// What the thread tells.
  private struct State {
    var bucket = 0
    var bytes = 0
    var code: Int32 = 0
  }

  /// - Parameter partition: what `reduction` goes by.
  public init(_ reduction: consuming TreeReduction, partition: SlicePartition) {
    precondition(reduction.buckets == partition.buckets, "a reduction of another partition")
    self.reduction = reduction
    starts = (0..<partition.bucketCount).map { partition.elements(ofBucket: $0).lowerBound }
  }

  /// Whether MPI lets a thread of its own exchange.
  public static var isPossible: Bool { cmpi_threads_take_turns() }

  /// Starts the thread, once the last lane of this rank is open.
  ///
  /// - Parameters:
  ///   - accumulator: has that lane.
  ///   - result: of the whole vector; only this rank's slice is written. May be one of the accumulator's nodes.
  public func begin(_ accumulator: borrowing TreeAccumulator, into result: FloatView) {
    precondition(work == nil, "an exchange that has not been finished")
    precondition(result.count == accumulator.count, "\(result.count) elements of \(accumulator.count)")
    nodes = accumulator.nodes
    self.result = result
    work = Work(additions: accumulator.additions, first: starts.count, count: accumulator.count)
    state.withLock { $0 = State(bucket: starts.count - 1) }
    Thread.detachNewThread { [self] in
      exchange()
      ended.signal()
    }
  }

  /// The elements of the open lane from `element` on are complete.
  ///
  /// - Cost: the additions that complete these buckets make due.
  public func complete(from element: Int) {
    guard var own = work else { preconditionFailure("no exchange has begun") }
    while own.first > 0, starts[own.first - 1] >= element {
      let end = own.first < starts.count ? starts[own.first] : own.count
      own.first -= 1
      own.additions.add(starts[own.first]..<end)
      ready.signal()
    }
    work = own
  }

  /// Waits until all buckets are exchanged; `complete(from: 0)` came before. The lane ends with all of it added.
  ///
  /// - Parameter waiting: told the bucket that is being exchanged, each time that another one is.
  /// - Throws: what went wrong in the thread.
  public func finish(
    _ world: borrowing World, waiting: (_ bucket: Int) -> Void = { _ in }
  ) throws(WorldError) {
    precondition(work?.first == 0, "the gradient is not complete")
    var last = -1
    repeat {
      let bucket = state.withLock { $0.bucket }
      if bucket != last { waiting(bucket) }
      last = bucket
    } while ended.wait(timeout: .now() + .milliseconds(100)) == .timedOut
    work = nil
    let end = state.withLock { $0 }
    world.traffic.add(end.bytes, by: .reduceScatter)
    try world.check(end.code, .reduceScatter)
  }

  /// What the thread does.
  private func exchange() {
    guard let result else { return }
    for bucket in starts.indices.reversed() {
      ready.wait()
      state.withLock { $0.bucket = bucket }
      let messages = reduction.exchange(ofBucket: bucket, nodes: nodes)
      let code = cmpi_exchange(messages.baseAddress, messages.count, true)
      state.withLock {
        $0.code = code
        for message in messages where message.outgoing { $0.bytes += message.count }
      }
      if code != 0 { return }
      reduction.add(bucket: bucket, nodes: nodes, into: result)
    }
  }
}
