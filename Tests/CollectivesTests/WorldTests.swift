import Collectives
import Foundation
import Kernels
import Testing

/// Tests of the operations between ranks. They hold for any number of ranks: `swift test` runs them in a world of one,
/// scripts/mpi-tests.sh under mpirun. Serialised, because all ranks must do the same at the same time.
@Suite(.serialized) struct WorldTests {
  /// What rank `rank` contributes to a gather: a length of its own, zero for some.
  private static func bytes(of rank: Int, length: Int) -> [UInt8] {
    (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ rank &* 7 &+ $0 >> 8) }
  }

  @Test func worldHasTheSizeThatTheLauncherGave() throws {
    let expected = ProcessInfo.processInfo.environment["OMPI_COMM_WORLD_SIZE"].flatMap(Int.init) ?? 1
    let expectedRank = ProcessInfo.processInfo.environment["OMPI_COMM_WORLD_RANK"].flatMap(Int.init) ?? 0
    try inWorld { world in
      #expect(world.size == expected)
      #expect(world.rank == expectedRank)
      #expect((1...world.size).contains(world.localSize))
      #expect(!world.hostName.isEmpty)
      #expect(world.processorCount >= 1)
      try world.barrier()
    }
  }

  @Test func aSecondWorldIsRefused() throws {
    try inWorld { _ in
      #expect(throws: WorldError.alreadyRun) { try World.run { _ in } }
    }
  }

  @Test func maximumIsTheLargest() throws {
    try inWorld { world in
      for least in [0, -1, -world.size, Int.min] {
        let largest = try world.maximum(least + world.rank)
        #expect(largest == least + world.size - 1)
      }
    }
  }

  // MARK: Moving bytes

  @Test func broadcastFromEveryRoot() throws {
    try inWorld { world in
      for root in 0..<world.size {
        for length in [0, 1, 1000, 300_001] {
          let expected = Self.bytes(of: root, length: length)
          let own = world.rank == root ? expected : Self.bytes(of: world.rank, length: world.rank * 3)
          let before = world.bytesSent(by: .broadcast)
          let received = try world.broadcast(own, from: root)
          #expect(received == expected)
          let sent = world.bytesSent(by: .broadcast) - before
          let copies = world.rank == root ? world.size - 1 : 0
          #expect(sent == copies * (length + 8), "the length and the bytes")
        }
      }
    }
  }

  @Test func gatherOfVariableLengths() throws {
    try inWorld { world in
      for scale in [0, 1, 777, 400_000] {
        func length(_ rank: Int) -> Int { rank % 3 == 1 ? 0 : rank * scale + scale }
        let all = try world.allGather(Self.bytes(of: world.rank, length: length(world.rank)))
        #expect(all == (0..<world.size).map { Self.bytes(of: $0, length: length($0)) })
      }
    }
  }

  @Test func gatherInPlaceWithUnevenRanges() throws {
    try inWorld { world in
      for unit in [0, 1, 1000, 70_003] {
        // Rank r owns r % 3 units, so some own nothing; three elements at the end belong to nobody.
        var ranges: [Range<Int>] = []
        for rank in 0..<world.size {
          let start = ranges.last?.upperBound ?? 0
          ranges.append(start..<start + rank % 3 * unit)
        }
        let count = ranges.last!.upperBound
        let buffer = FloatBuffer(count: count + 3)
        buffer.view.fill(-1)
        for i in ranges[world.rank] { buffer.view[i] = Float(i) }
        let before = world.bytesSent(by: .allGather)
        try world.allGather(buffer.view, parts: ranges.map { [$0] })
        #expect(buffer.view.array == (0..<count).map(Float.init) + [-1, -1, -1])
        let passedOn = (count - ranges[(world.rank + 1) % world.size].count) * 4
        #expect(world.bytesSent(by: .allGather) - before == (world.size == 1 ? 0 : passedOn))
      }
    }
  }

  @Test func gatherOfManyRangesARank() throws {
    try inWorld { world in
      // Rank r has every byte of its own that is not a multiple of 5: in runs of 4, and none if r % 3 is 2.
      let count = 1000
      let parts = (0..<world.size).map { rank in
        rank % 3 == 2
          ? [] : stride(from: rank * count, to: (rank + 1) * count, by: 5).map { $0 + 1..<$0 + 5 }
      }
      func value(_ byte: Int) -> UInt8 { UInt8(truncatingIfNeeded: byte &* 7 + byte / 256) }
      var bytes = [UInt8](repeating: 0, count: world.size * count)
      for range in parts[world.rank] { for byte in range { bytes[byte] = value(byte) } }
      let before = world.bytesSent(by: .allGather)
      try bytes.withUnsafeMutableBytes { try world.allGather($0, parts: parts) }
      var expected = [UInt8](repeating: 0, count: bytes.count)
      for range in parts.joined() { for byte in range { expected[byte] = value(byte) } }
      #expect(bytes == expected)
      let all = parts.joined().reduce(0) { $0 + $1.count }
      let next = parts[(world.rank + 1) % world.size].reduce(0) { $0 + $1.count }
      #expect(world.bytesSent(by: .allGather) - before == (world.size == 1 ? 0 : all - next))
    }
  }

  @Test func scatterFromEveryRoot() throws {
    try inWorld { world in
      for root in 0..<world.size {
        let ranges = Self.unevenSlices(count: 5000, size: world.size)
        let buffer = FloatBuffer(count: 5000)
        if world.rank == root { for i in 0..<5000 { buffer.view[i] = Float(i + root) } }
        let before = world.bytesSent(by: .scatter)
        // Each in two parts.
        let parts = ranges.map {
          [$0.lowerBound..<$0.lowerBound + $0.count / 3, $0.lowerBound + $0.count / 3..<$0.upperBound]
        }
        try world.scatter(buffer.view, parts: parts, from: root)
        for i in 0..<5000 where ranges[world.rank].contains(i) || world.rank == root {
          #expect(buffer.view[i] == Float(i + root))
        }
        let others = 4 * (5000 - ranges[root].count)
        #expect(world.bytesSent(by: .scatter) - before == (world.rank == root ? others : 0))
      }
    }
  }

  // MARK: Sums

  /// One step's worth: accumulates this rank's lanes, reduces, and compares with the recursive sum.
  private static func checkReduction(
    in world: borrowing World, laneCount: Int, buckets: [[Range<Int>]], inPlace: Bool,
    format: WireFormat = .float32
  ) throws {
    let tree = LaneTree(laneCount: laneCount)
    let count = buckets.joined().map(\.upperBound).max()!
    let lanes = tree.lanes(of: world.rank, size: world.size)
    // Long gradients repeat themselves, at a period that fits no boundary.
    let period = min(count, 1021)
    let gradients = (0..<laneCount).map { gradient(lane: $0, count: period) }
    let periodSum = bits(referenceSum(laneCount: laneCount, gradients: gradients, format: format))
    let slice = buckets.flatMap { $0[world.rank] }
    let expected = slice.map { periodSum[$0 % period] }
    var accumulator = TreeAccumulator(tree: tree, lanes: lanes, count: count, format: format)
    let reduction = TreeReduction(
      tree: tree, size: world.size, buckets: buckets, rank: world.rank, format: format)
    let separate = FloatBuffer(count: count)
    for step in 0..<2 {
      for lane in lanes {
        let view = accumulator.begin()
        for first in stride(from: 0, to: count, by: period) {
          view.base.advanced(by: first).update(from: gradients[lane], count: min(period, count - first))
        }
        accumulator.end()
      }
      let nodes = accumulator.nodes
      let result = inPlace ? nodes[nodes.count - 1].view : separate.view
      let before = world.bytesSent(by: .reduceScatter)
      try world.reduceScatter(nodes, with: reduction, into: result)
      #expect(bits(slice.map { result[$0] }) == expected, "lanes \(laneCount), step \(step)")
      #expect(
        world.bytesSent(by: .reduceScatter) - before == nodes.count * (count - slice.count) * format.width,
        "lanes \(laneCount), step \(step)")
    }
  }

  /// Buckets at random places, each shared at random places.
  private static func unevenBuckets(count: Int, size: Int) -> [[Range<Int>]] {
    unevenSlices(count: count, size: 3).map { bucket in
      unevenSlices(count: bucket.count, size: size).map {
        bucket.lowerBound + $0.lowerBound..<bucket.lowerBound + $0.upperBound
      }
    }
  }

  /// Bounds at random places, some slices empty.
  private static func unevenSlices(count: Int, size: Int) -> [Range<Int>] {
    var random = CounterRandom(seed: 3, purpose: .initialisation).stream(UInt32(count), UInt32(size))
    var bounds = (1..<max(size, 1)).map { _ in Int(random.next(below: UInt32(count + 1))) }
    if bounds.count > 2 { bounds[1] = bounds[0] }
    bounds = [0] + bounds.sorted() + [count]
    return (0..<size).map { bounds[$0]..<bounds[$0 + 1] }
  }

  @Test(arguments: [0, 1, 2, 3, 4, 5, 7, 8, 12, 13, 16]) func reductionHasTheBitsOfTheTree(more: Int)
    async throws
  {
    try inWorld { world in
      let laneCount = world.size + more
      for count in [1, 100, 2500] {
        let buckets = Self.unevenBuckets(count: count, size: world.size)
        try Self.checkReduction(in: world, laneCount: laneCount, buckets: buckets, inPlace: false)
        try Self.checkReduction(in: world, laneCount: laneCount, buckets: buckets, inPlace: true)
        try Self.checkReduction(
          in: world, laneCount: laneCount, buckets: buckets, inPlace: true, format: .bfloat16)
      }
    }
  }

  @Test func reductionOfManyBuckets() throws {
    try inWorld { world in
      // One lane a rank, three buckets, the last one short.
      let count = 2 * SlicePartition.fewestChunks * SlicePartition.chunkSize + 123
      let even = SlicePartition(count: count, size: world.size).buckets
      try Self.checkReduction(in: world, laneCount: world.size, buckets: even, inPlace: false)
      var lopsided = [Range<Int>](repeating: 0..<0, count: world.size)
      lopsided[world.size - 1] = 0..<count
      try Self.checkReduction(in: world, laneCount: world.size, buckets: [lopsided], inPlace: false)
      try Self.checkReduction(
        in: world, laneCount: world.size, buckets: [lopsided], inPlace: false, format: .bfloat16)
    }
  }

  /// Buckets that travel while the gradient is still being made give the same bits, in this step and the next.
  @Test(arguments: [0, 1, 5, 8]) func exchangeDuringBackwardChangesNothing(more: Int) throws {
    try inWorld { world in
      let (rank, size) = (world.rank, world.size)
      let tree = LaneTree(laneCount: size + more)
      let count = 2 * SlicePartition.fewestChunks * SlicePartition.chunkSize + 77
      let partition = SlicePartition(count: count, size: size)
      let lanes = tree.lanes(of: rank, size: size)
      let slice = partition.slice(of: rank).flatMap { Array($0) }
      for format in WireFormat.allCases {
        func reduction() -> TreeReduction {
          TreeReduction(
            tree: tree, size: size, buckets: partition.buckets, rank: rank, format: format)
        }
        var accumulator = TreeAccumulator(tree: tree, lanes: lanes, count: count, format: format)
        func fill(_ view: FloatView, lane: Int, _ range: Range<Int>) {
          let values = gradient(lane: lane, count: 1021)
          for i in range { view[i] = values[i % 1021] }
        }
        for lane in lanes {
          fill(accumulator.begin(), lane: lane, 0..<count)
          accumulator.end()
        }
        let expected = FloatBuffer(count: count)
        try world.reduceScatter(accumulator.nodes, with: reduction(), into: expected.view)
        let early = GradientExchange(reduction(), partition: partition)
        for _ in 0..<2 {
          for lane in lanes.dropLast() {
            fill(accumulator.begin(), lane: lane, 0..<count)
            accumulator.end()
          }
          let view = accumulator.begin()
          let total = accumulator.nodes[0].view
          early.begin(accumulator, into: total)
          var end = count
          for start in [
            count - 5, SlicePartition.fewestChunks * SlicePartition.chunkSize + 1,
            SlicePartition.fewestChunks * SlicePartition.chunkSize, 3, 0,
          ] {
            fill(view, lane: lanes.upperBound - 1, start..<end)
            early.complete(from: start)
            end = start
          }
          accumulator.end(addedFrom: 0)
          let before = world.bytesSent(by: .reduceScatter)
          try early.finish(world)
          #expect(slice.allSatisfy { total[$0].bitPattern == expected.view[$0].bitPattern }, "\(format)")
          let ownNodes = accumulator.nodes.count
          let sent = world.bytesSent(by: .reduceScatter) - before
          #expect(sent == ownNodes * (count - slice.count) * format.width)
        }
      }
    }
  }

  @Test func everySizeAgreesOnTheSameDigest() throws {
    // 16 lanes in any world: a number written down, so that worlds of different sizes are compared with each other.
    try inWorld { world in
      let (laneCount, count) = (16, 3 * SlicePartition.chunkSize + 11)
      let tree = LaneTree(laneCount: laneCount)
      let partition = SlicePartition(count: count, size: world.size)
      let lanes = tree.lanes(of: world.rank, size: world.size)
      var accumulator = TreeAccumulator(tree: tree, lanes: lanes, count: count)
      for lane in lanes {
        let view = accumulator.begin()
        for (i, value) in gradient(lane: lane, count: 1024).enumerated() {
          for j in stride(from: i, to: count, by: 1024) { view[j] = value }
        }
        accumulator.end()
      }
      let total = FloatBuffer(count: count)
      let reduction = TreeReduction(
        tree: tree, size: world.size, buckets: partition.buckets, rank: world.rank)
      try world.reduceScatter(accumulator.nodes, with: reduction, into: total.view)
      try world.allGather(total.view, parts: partition.slices)
      let digest = total.view.array.reduce(UInt64(14_695_981_039_346_656_037)) {
        ($0 ^ UInt64($1.bitPattern)) &* 1_099_511_628_211
      }
      #expect(digest == 11_902_401_534_586_811_782)
    }
  }

  @Test(arguments: [0, 1, 4, 11, 40, 150]) func sumOfChunksIsInChunkOrder(chunkCount: Int) throws {
    try inWorld { world in
      let values = gradient(lane: 1, count: chunkCount).map { Double($0) / 3 }
      let partition = SlicePartition(
        count: max(0, chunkCount * SlicePartition.chunkSize - 1), size: world.size)
      let own = partition.slice(of: world.rank).flatMap { values[partition.chunkIndices(in: $0)] }
      let sum = try world.sumOfChunks(own, partition: partition)
      #expect(sum.bitPattern == values.reduce(0, +).bitPattern)
    }
  }

  // MARK: Agreement

  private struct UnreadableShard: Error, CustomStringConvertible {
    let rank: Int
    var description: String { "shard \(rank) is unreadable" }
  }

  @Test func agreementOnSuccess() throws {
    try inWorld { world in
      try world.agree(nil)
      let value = try world.together { world.rank + 1 }
      #expect(value == world.rank + 1)
    }
  }

  @Test func everyRankThrowsTheErrorOfTheLowestFailingRank() throws {
    try inWorld { world in
      for failing in 0..<world.size {
        let message = "rank \(failing) says: Überlauf"
        #expect(throws: WorldError.agreedFailure(code: 78, message: message, rank: failing)) {
          let fails = world.rank == failing || world.rank == world.size - 1
          let own = WorldFailure(
            code: world.rank == failing ? 78 : 70, message: "rank \(world.rank) says: Überlauf")
          try world.agree(fails ? own : nil)
        }
      }
    }
  }

  @Test func togetherThrowsAlikeEverywhere() throws {
    try inWorld { world in
      for failing in 0..<world.size {
        let expected = WorldError.agreedFailure(
          code: 70, message: "shard \(failing) is unreadable", rank: failing)
        #expect(throws: expected) {
          _ = try world.together {
            if world.rank >= failing { throw UnreadableShard(rank: world.rank) }
            return 1
          }
        }
        // An agreement within another keeps code and message.
        #expect(throws: WorldError.agreedFailure(code: 78, message: "stop", rank: 0)) {
          try world.together {
            try world.agree(world.rank == failing ? WorldFailure(code: 78, message: "stop") : nil)
          }
        }
      }
    }
  }

  // MARK: The end of the job

  private static let mayAbort = ProcessInfo.processInfo.environment["BIPFT_TEST_ABORT"] != nil

  /// Leaves messages pending, so it ends the whole job too: what goes wrong in the thread of an exchange is thrown to the one
  /// who waits for it.
  @Test(.enabled("ends its whole job; scripts/mpi-tests.sh asks for it") { WorldTests.mayAbort })
  func anErrorOfTheExchangeIsThrown() throws {
    try inWorld { world in
      // Shared with a rank that does not exist: MPI refuses its messages.
      let (rank, size) = (world.rank, world.size + 1)
      let tree = LaneTree(laneCount: size)
      let partition = SlicePartition(
        count: SlicePartition.fewestChunks * SlicePartition.chunkSize, size: size)
      let early = GradientExchange(
        TreeReduction(tree: tree, size: size, buckets: partition.buckets, rank: rank), partition: partition)
      var accumulator = TreeAccumulator(
        tree: tree, lanes: tree.lanes(of: rank, size: size), count: partition.count)
      _ = accumulator.begin()
      early.begin(accumulator, into: accumulator.nodes[0].view)
      early.complete(from: 0)
      accumulator.end(addedFrom: 0)
      do throws(WorldError) { try early.finish(world) } catch { world.abort(code: 78, "\(error)") }
      Issue.record("messages to a rank that does not exist")
    }
  }

  /// Ends the whole job, so it runs only when asked for; scripts/mpi-tests.sh does, and checks line and exit code.
  @Test(.enabled("ends its whole job; scripts/mpi-tests.sh asks for it") { WorldTests.mayAbort })
  func abortEndsTheJob() throws {
    try inWorld { world in
      if world.rank == world.size - 1 { world.abort(code: 78, "this test ends the job") }
      try world.barrier()
      Issue.record("passed a barrier that one rank never reached")
    }
  }
}
