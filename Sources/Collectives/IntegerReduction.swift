import CMPI
import Kernels

/// The plan and the memory of a reduction of integers: everyone's sums of a flat vector in, the totals of one's own elements out,
/// or of all. Integers that wrap add up to the same bits in any order, so MPI's own collectives move them as they like.
///
/// It goes bucket by bucket. To their owners each goes in two levels: each rank of a host adds up what its place has, which it reads
/// from the memory of the others, then the ranks of one place on all hosts share out what that place has. So what leaves a
/// host is its sum, once, whatever its number of ranks.
///
/// - Cost: with several hosts memory of twice a place's part of a bucket, allocated once; a reduction allocates lists of a few numbers
///   a rank.
public struct IntegerReduction<Integer: SummedInteger>: ~Copyable {
  /// Of each bucket the elements that each rank owns, in rank order.
  public let buckets: [[[Range<Int>]]]
  /// Whether every rank gets all totals.
  private let isReplicated: Bool
  private let size: Int
  fileprivate let rank: Int
  private let shares: [HostShares]
  /// The ranks that this one's place serves, itself first; none beyond the places.
  private let served: [Int]
  /// The rank of this host that serves this one.
  private let server: Int
  /// The ranks of all hosts that this one's place serves, host by host.
  private let shared: [Int]
  private let memory: FloatBuffer
  /// What those own of a bucket, in place of which come the totals, and what other hosts have of a part of it.
  private let packed: UnsafeMutablePointer<Integer>
  private let received: UnsafeMutablePointer<Integer>

  /// For rank `rank` of the world that `layout` tells of.
  public init(layout: HostLayout, rank: Int, buckets: [[[Range<Int>]]], isReplicated: Bool = false) {
    precondition(
      buckets.allSatisfy { $0.count == layout.size }, "a bucket that \(layout.size) ranks do not share")
    self.rank = rank
    self.buckets = buckets
    self.isReplicated = isReplicated
    size = layout.size
    shares = buckets.map { HostShares(layout, rank: rank, counts: $0.map { Self.count($0) }) }
    let (host, number) = layout.position(of: rank)
    served = number < layout.places ? layout.ranks(at: number, of: host) : []
    server = layout.hosts[host][number % layout.places]
    shared =
      number < layout.places ? layout.hosts.indices.flatMap { layout.ranks(at: number, of: $0) } : []
    let bytes =
      layout.size == 1
      ? (0, 0) : Self.byteCounts(layout, buckets: buckets, of: rank, isReplicated: isReplicated)
    memory = FloatBuffer(count: (bytes.0 + bytes.1) / MemoryLayout<Float>.stride)
    let base = UnsafeMutableRawPointer(memory.view.base)
    packed = base.assumingMemoryBound(to: Integer.self)
    received = (base + bytes.0).assumingMemoryBound(to: Integer.self)
  }

  private static func count(_ ranges: [Range<Int>]) -> Int { ranges.reduce(0) { $0 + $1.count } }

  /// Bytes of the memory of `rank` for `buckets` of several ranks: of what its place has of a bucket, and of what is received of
  /// one; or of a bucket, where all get everything.
  public static func byteCounts(
    _ layout: HostLayout, buckets: [[[Range<Int>]]], of rank: Int, isReplicated: Bool
  ) -> (packed: Int, received: Int) {
    func bytes(_ count: Int) -> Int { (count * MemoryLayout<Integer>.stride + 63) / 64 * 64 }
    let counts = buckets.map { $0.map { count($0) } }
    if isReplicated { return (bytes(counts.map { $0.reduce(0, +) }.max() ?? 0), 0) }
    if layout.hosts.count == 1 { return (0, 0) }
    let hosts = counts.map { HostShares(layout, rank: rank, counts: $0) }
      .map { (all: $0.hosts.reduce(0) { $0 + Int($1) }, own: $0.hosts.isEmpty ? 0 : Int($0.hosts[$0.host])) }
    return (
      bytes(hosts.map(\.all).max() ?? 0), bytes(layout.hosts.count * (hosts.map(\.own).max() ?? 0))
    )
  }

  /// Adds everyone's elements of a bucket.
  fileprivate func reduce(
    _ sums: UnsafeMutableBufferPointer<Integer>, bucket: Int, peers: PeerMemory, world: borrowing World
  ) throws(WorldError) {
    let (runs, shares) = (buckets[bucket], shares[bucket])
    if isReplicated { return try reduceToAll(sums, runs, world: world) }
    world.traffic.add(shares.read * MemoryLayout<Integer>.stride, by: .reduceScatter)
    if shares.places.count == size {
      for run in runs[rank] {
        try add(run, of: peers, to: sums.baseAddress! + run.lowerBound, world: world)
      }
      return
    }
    var end = packed
    for owner in shared {
      for run in runs[owner] {
        end.update(from: sums.baseAddress! + run.lowerBound, count: run.count)
        try add(run, of: peers, to: end, world: world)
        end += run.count
      }
    }
    if !shares.hosts.isEmpty {
      try world.reduceScatter(
        packed, received, shares.hosts, own: shares.host, width: MemoryLayout<Integer>.stride)
    }
    try deliver(packed, runs, to: sums, world: world)
  }

  /// Adds what the other ranks of this host have of `run` to `sums`.
  private func add(
    _ run: Range<Int>, of peers: PeerMemory, to sums: UnsafeMutablePointer<Integer>, world: borrowing World
  ) throws(WorldError) {
    try peers.add(run, of: Integer.self, to: sums) { code throws(WorldError) in
      try world.check(code, .reduceScatter)
    }
  }

  private func reduceToAll(
    _ sums: UnsafeMutableBufferPointer<Integer>, _ runs: [[Range<Int>]], world: borrowing World
  ) throws(WorldError) {
    var end = packed
    for run in runs.joined() {
      end.update(from: sums.baseAddress! + run.lowerBound, count: run.count)
      end += run.count
    }
    try world.allReduce(UnsafeMutableBufferPointer(start: packed, count: end - packed))
    var start = packed
    for owned in runs { Self.unpack(&start, owned, to: sums) }
  }

  private static func unpack(
    _ start: inout UnsafeMutablePointer<Integer>, _ runs: [Range<Int>],
    to sums: UnsafeMutableBufferPointer<Integer>
  ) {
    for run in runs {
      (sums.baseAddress! + run.lowerBound).update(from: start, count: run.count)
      start += run.count
    }
  }

  /// Puts the totals of this rank, and of those beyond the places, where they belong.
  private func deliver(
    _ totals: UnsafeMutablePointer<Integer>, _ runs: [[Range<Int>]],
    to sums: UnsafeMutableBufferPointer<Integer>, world: borrowing World
  ) throws(WorldError) {
    var start = totals
    if served == [rank] { return Self.unpack(&start, runs[rank], to: sums) }
    var messages: [cmpi_message] = []
    func message(_ base: UnsafeMutablePointer<Integer>, _ count: Int, peer: Int, outgoing: Bool) {
      if count == 0 { return }
      messages.append(
        cmpi_message(
          bytes: base, count: count * MemoryLayout<Integer>.stride, peer: Int32(peer), outgoing: outgoing))
    }
    if served.isEmpty {
      for run in runs[rank] {
        message(sums.baseAddress! + run.lowerBound, run.count, peer: server, outgoing: false)
      }
    }
    for owner in served {
      if owner == rank {
        Self.unpack(&start, runs[rank], to: sums)
      } else {
        for run in runs[owner] {
          message(start, run.count, peer: owner, outgoing: true)
          start += run.count
        }
      }
    }
    try messages.withUnsafeBufferPointer { messages throws(WorldError) in
      try world.exchange(messages, .reduceScatter)
    }
  }
}

/// How the elements of a bucket are shared out in two levels, seen from one rank.
public struct HostShares {
  /// The rank's host, and its number there.
  let host: Int
  let number: Int
  /// Elements of each rank of the host in the first level: of each place, and none beyond.
  let places: [Int32]
  /// Elements of each host of what the rank's place has; empty where the rank takes no part, or is the only one.
  let hosts: [Int32]
  /// Elements that the other ranks of the host read from the rank.
  let read: Int
  /// Elements that the rank sends, or others read from it.
  public let sent: Int

  /// - Parameter counts: elements that each rank owns.
  public init(_ layout: HostLayout, rank: Int, counts: [Int]) {
    let position = layout.position(of: rank)
    let (host, number) = position
    self.host = host
    self.number = number
    let size = layout.hosts[host].count
    func count(_ place: Int, _ host: Int) -> Int {
      layout.ranks(at: place, of: host).reduce(0) { $0 + counts[$1] }
    }
    let places = (0..<size).map { place in
      place < layout.places ? layout.hosts.indices.reduce(0) { $0 + count(place, $1) } : 0
    }
    let takesPart = number < layout.places && layout.hosts.count > 1
    let hosts = takesPart ? layout.hosts.indices.map { count(number, $0) } : []
    let delivered =
      number < layout.places
      ? layout.ranks(at: number, of: host).dropFirst().reduce(0) { $0 + counts[$1] } : 0
    read = places.reduce(0, +) - places[number]
    sent =
      read + hosts.reduce(0, +) - (takesPart ? hosts[host] : 0) + delivered
    self.places = places.map(Int32.init)
    self.hosts = hosts.map(Int32.init)
  }
}

extension World {
  /// Adds everyone's `sums`, of the whole vector, as far as they are in the bucket number `bucket`. Each rank gets the totals of the
  /// elements that it owns, or of all, in their place; others stay as they are. Collective.
  ///
  /// - Parameter peers: the `sums` of the ranks of this host (`meetOnHost`).
  /// - Cost: reads of each other rank of the host what is of its place, and sends across hosts that less what is of its host
  ///   (`HostShares.sent`), or what `allReduceBytes` says.
  /// - Throws: `WorldError.operation`.
  public func reduce<Integer: SummedInteger>(
    _ sums: UnsafeMutableBufferPointer<Integer>, with reduction: borrowing IntegerReduction<Integer>,
    bucket: Int, peers: PeerMemory
  ) throws(WorldError) {
    precondition(reduction.rank == rank, "a reduction of rank \(reduction.rank) on rank \(rank)")
    if size > 1 { try reduction.reduce(sums, bucket: bucket, peers: peers, world: self) }
  }

  /// The level across hosts, in which this rank's number is `own`. It sends all parts but that one.
  fileprivate func reduceScatter(
    _ all: UnsafeMutableRawPointer, _ received: UnsafeMutableRawPointer, _ counts: [Int32], own: Int,
    width: Int
  ) throws(WorldError) {
    let sent = counts.reduce(0) { $0 + Int($1) } - Int(counts[own])
    traffic.add(sent * width, by: .reduceScatter)
    try check(cmpi_reduce_scatter(all, received, counts, Int32(width)), .reduceScatter)
  }
}
