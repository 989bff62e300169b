import Collectives
import Kernels
import Testing

@Suite struct HostLayoutTests {
  @Test func everyRankHasOnePlaceThatServesIt() {
    let layout = HostLayout(firstRanks: [0, 1, 0, 1, 1, 1, 1, 0])
    #expect(layout.hosts == [[0, 2, 7], [1, 3, 4, 5, 6]])
    #expect(layout.places == 3)
    #expect(layout.ranks(at: 0, of: 1) == [1, 5])
    #expect(layout.ranks(at: 2, of: 1) == [4])
    let served = layout.hosts.indices.flatMap { host in
      (0..<layout.places).flatMap { layout.ranks(at: $0, of: host) }
    }
    #expect(served.sorted() == Array(0..<8))
    #expect(layout.position(of: 5) == (host: 1, number: 3))
  }
}

/// The reduce-scatter of integers in whatever world the tests run in, on one host and on several made out of it
/// (scripts/mpi-tests.sh).
extension WorldTests {
  @Test func integersAddUpToTheirTotalsAtTheirOwners() throws {
    try inWorld { world in
      let layout = try world.hostLayout()
      #expect(layout.hosts.flatMap { $0 }.sorted() == Array(0..<world.size))
      // Ranks that may not read each other's memory count as hosts of their own.
      let neighbours = layout.hosts[layout.position(of: world.rank).host].count
      #expect(neighbours == world.localSize || layout.hosts.count == world.size)
      try check(UInt32.self, layout, world)
      try check(UInt16.self, layout, world)
    }
  }

  private func check<Integer: SummedInteger>(
    _: Integer.Type, _ layout: HostLayout, _ world: borrowing World
  ) throws {
    for count in [1, 1000, 3 * 65_536 + 5, 20 * 65_536 + 7] {
      let partition = SlicePartition(count: count, size: world.size)
      // All but a few elements here and there.
      let gaps = [500..<501, 65_000..<70_000, 131_072..<131_073].filter { $0.upperBound <= count }
      let tensors = zip([0] + gaps.map(\.upperBound), gaps.map(\.lowerBound) + [count]).map { $0..<$1 }
      let part = GradientPart(tensors: tensors, width: MemoryLayout<Integer>.stride)
      let reduction = IntegerReduction<Integer>(
        layout: layout, rank: world.rank, buckets: part.owned(partition))
      // Large, so that sums wrap.
      func value(_ element: Int, _ rank: Int) -> Integer {
        Integer(truncatingIfNeeded: element &* 2_654_435_761 &+ rank &* 40_503 &+ element >> 7)
      }
      let sums = UnsafeMutableBufferPointer<Integer>.allocate(capacity: count)
      defer { sums.deallocate() }
      for i in 0..<count { sums[i] = value(i, world.rank) }
      let before = world.bytesSent(by: .reduceScatter)
      let peers = try world.meetOnHost([UnsafeMutableRawPointer(sums.baseAddress!)], in: layout)[0]
      for bucket in 0..<partition.bucketCount {
        try world.reduce(sums, with: reduction, bucket: bucket, peers: peers)
      }
      try world.partOnHost()
      let sent = part.owned(partition).reduce(0) { sum, owned in
        sum + HostShares(layout, rank: world.rank, counts: owned.map { $0.reduce(0) { $0 + $1.count } }).sent
      }
      #expect(
        world.bytesSent(by: .reduceScatter) - before
          == (world.size == 1 ? 0 : sent * MemoryLayout<Integer>.stride))
      var wrong = 0
      let own = partition.slice(of: world.rank).flatMap { part.elements(in: $0) }
      if layout.hosts.count == 1 {
        #expect(sent == part.elements.reduce(0) { $0 + $1.count } - own.reduce(0) { $0 + $1.count })
      }
      for i in 0..<count {
        let isOwn = own.contains { $0.contains(i) }
        let expected =
          isOwn
          ? (0..<world.size).reduce(Integer(0)) { $0 &+ value(i, $1) } : value(i, world.rank)
        if sums[i] != expected { wrong += 1 }
      }
      #expect(wrong == 0, "of \(count) elements in a world of \(world.size)")
    }
  }
}
