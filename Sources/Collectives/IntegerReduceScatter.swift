import CMPI
import Kernels

/// The plan and the memory of a reduce-scatter of integers: everyone's sums of a flat vector in, the total of one's own slice
/// out. Integers that wrap add up to the same bits in any order, so MPI's own collectives add them.
///
/// It goes bucket by bucket, each in two levels: the ranks of a host share out a bucket among their places, then the ranks of
/// one place on all hosts share out what that place has. So what leaves a host is its sum, once, whatever its number of ranks.
///
/// - Cost: memory of twice a bucket, allocated once; an exchange allocates a few lists of W numbers a bucket, for W ranks.
public struct IntegerReduceScatter<Integer: SummedInteger>: ~Copyable {
  /// Of each bucket the elements that each rank owns, in rank order.
  public let buckets: [[Range<Int>]]
  private let layout: HostLayout
  fileprivate let rank: Int
  /// Where the rank is in `layout`.
  private let host: Int
  private let number: Int
  private let memory: FloatBuffer
  /// A bucket in the order in which it is shared out, and a place's part of it.
  private let packed: UnsafeMutablePointer<Integer>
  private let part: UnsafeMutablePointer<Integer>

  /// For rank `rank` of the world that `layout` tells of.
  public init(layout: HostLayout, rank: Int, buckets: [[Range<Int>]]) {
    self.layout = layout
    self.rank = rank
    self.buckets = buckets
    (host, number) = layout.position(of: rank)
    let size = layout.hosts.reduce(0) { $0 + $1.count }
    precondition(buckets.allSatisfy { $0.count == size }, "a bucket that \(size) ranks do not share")
    let most = buckets.map { $0.reduce(0) { $0 + $1.count } }.max() ?? 0
    let floats = (most * MemoryLayout<Integer>.stride + 3) / 4
    memory = FloatBuffer(count: 2 * floats)
    func integers(at start: UnsafeMutablePointer<Float>) -> UnsafeMutablePointer<Integer> {
      UnsafeMutableRawPointer(start).bindMemory(to: Integer.self, capacity: most)
    }
    packed = integers(at: memory.view.base)
    part = integers(at: memory.view.base + floats)
  }

  /// Adds everyone's elements of a bucket; this rank's own ones of `sums`, the whole vector, become the totals, the others
  /// stay.
  fileprivate func exchange(
    _ sums: UnsafeMutableBufferPointer<Integer>, bucket: Int, world: borrowing World
  ) throws(WorldError) {
    let runs = buckets[bucket]
    var end = 0
    var places: [Int32] = []
    for place in 0..<layout.places {
      let start = end
      for other in layout.hosts.indices {
        for owner in layout.ranks(at: place, of: other) {
          (packed + end).update(from: sums.baseAddress! + runs[owner].lowerBound, count: runs[owner].count)
          end += runs[owner].count
        }
      }
      places.append(Int32(end - start))
    }
    let beyond = layout.hosts[host].count - layout.places
    let width = Int32(MemoryLayout<Integer>.stride)
    try world.reduceScatter(
      cmpi_in_host, packed, part, places + [Int32](repeating: 0, count: beyond), own: number, width)
    var totals = part
    if number < layout.places, layout.hosts.count > 1 {
      let shares = layout.hosts.indices.map { other in
        Int32(layout.ranks(at: number, of: other).reduce(0) { $0 + runs[$1].count })
      }
      try world.reduceScatter(cmpi_across_hosts, part, packed, shares, own: host, width)
      totals = packed
    }
    try deliver(totals, runs, to: sums, world: world)
  }

  /// Puts the totals of this rank and of those beyond the places where they belong.
  private func deliver(
    _ totals: UnsafeMutablePointer<Integer>, _ runs: [Range<Int>],
    to sums: UnsafeMutableBufferPointer<Integer>, world: borrowing World
  ) throws(WorldError) {
    var messages: [cmpi_message] = []
    func message(_ base: UnsafeMutablePointer<Integer>, _ count: Int, peer: Int, outgoing: Bool) {
      if count == 0 { return }
      messages.append(
        cmpi_message(
          bytes: base, count: count * MemoryLayout<Integer>.stride, peer: Int32(peer), outgoing: outgoing))
    }
    let own = sums.baseAddress! + runs[rank].lowerBound
    if number < layout.places {
      var start = totals
      for owner in layout.ranks(at: number, of: host) {
        if owner == rank {
          own.update(from: start, count: runs[rank].count)
        } else {
          message(start, runs[owner].count, peer: owner, outgoing: true)
        }
        start += runs[owner].count
      }
    } else {
      message(own, runs[rank].count, peer: layout.hosts[host][number % layout.places], outgoing: false)
    }
    try messages.withUnsafeBufferPointer { messages throws(WorldError) in
      try world.exchange(messages, .reduceScatter)
    }
  }
}

extension World {
  /// Adds everyone's `sums`, of the whole vector, and leaves each rank the totals of the elements that it owns, in their
  /// place; the others stay as they are. Collective.
  ///
  /// - Parameter begin: told the number of each bucket before it is exchanged, last buckets first.
  /// - Cost: sends within the host all but what is of its place, and across hosts that less what is of its host.
  /// - Throws: `WorldError.operation`.
  public func reduceScatter<Integer: SummedInteger>(
    _ sums: UnsafeMutableBufferPointer<Integer>, with reduction: borrowing IntegerReduceScatter<Integer>,
    begin: (_ bucket: Int) -> Void = { _ in }
  ) throws(WorldError) {
    precondition(reduction.rank == rank, "a reduction of rank \(reduction.rank) on rank \(rank)")
    let count = reduction.buckets.last?.map(\.upperBound).max() ?? 0
    precondition(sums.count >= count, "\(sums.count) sums for \(count) elements")
    guard size > 1 else { return }
    for bucket in reduction.buckets.indices.reversed() {
      begin(bucket)
      try reduction.exchange(sums, bucket: bucket, world: self)
    }
  }

  /// One level of it, in which this rank's number is `own`. It sends all parts but that one.
  fileprivate func reduceScatter(
    _ level: cmpi_level, _ all: UnsafeRawPointer, _ total: UnsafeMutableRawPointer, _ counts: [Int32],
    own: Int, _ width: Int32
  ) throws(WorldError) {
    let sent = counts.reduce(0) { $0 + Int($1) } - Int(counts[own])
    traffic.add(sent * Int(width), by: .reduceScatter)
    try check(cmpi_reduce_scatter(level, all, total, counts, width), .reduceScatter)
  }
}
