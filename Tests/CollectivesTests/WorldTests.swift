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

  /// On one host, and on several made out of it (scripts/mpi-tests.sh).
  @Test func gatherThroughHosts() throws {
    try inWorld { world in
      let layout = try world.hostLayout()
      for unit in [0, 1, 1000] {
        // Rank r has every byte of its own that is not a multiple of 5, and none if r % 4 is 3.
        let parts = (0..<world.size).map { rank in
          rank % 4 == 3
            ? []
            : stride(from: rank * unit, to: (rank + 1) * unit, by: 5).map {
              min($0 + 1, (rank + 1) * unit)..<min($0 + 5, (rank + 1) * unit)
            }
        }
        func value(_ byte: Int) -> UInt8 { UInt8(truncatingIfNeeded: byte &* 7 + byte / 256) }
        var bytes = [UInt8](repeating: 0, count: world.size * unit)
        for range in parts[world.rank] { for byte in range { bytes[byte] = value(byte) } }
        // A second memory, in which everyone has as many as its number.
        let few = (0..<world.size).map { [$0 * ($0 + 1) / 2..<($0 + 1) * ($0 + 2) / 2] }
        var numbers = [UInt8](repeating: 0, count: few.last![0].upperBound)
        for byte in few[world.rank][0] { numbers[byte] = UInt8(1 + world.rank) }
        let before = world.bytesSent(by: .allGather)
        try bytes.withUnsafeMutableBytes { bytes in
          try numbers.withUnsafeMutableBytes { numbers in
            try world.allGather(
              [SharedMemory(bytes, parts: parts), SharedMemory(numbers, parts: few)], through: layout)
          }
        }
        var expected = [UInt8](repeating: 0, count: bytes.count)
        for range in parts.joined() { for byte in range { expected[byte] = value(byte) } }
        #expect(bytes == expected)
        let all = (0..<world.size).flatMap { [UInt8](repeating: UInt8(1 + $0), count: $0 + 1) }
        #expect(numbers == all)
        let sent = [parts, few].reduce(0) { sum, parts in
          let counts = parts.map { $0.reduce(0) { $0 + $1.count } }
          return sum + World.gatherBytes(counts, rank: world.rank, through: layout)
        }
        #expect(world.bytesSent(by: .allGather) - before == sent)
      }
    }
  }

  /// Each lane is handed out once, in every step; a rank gets its own before those of others.
  @Test(arguments: [false, true], [0, 1, 9]) func lanesAreHandedOutOnce(isShared: Bool, more: Int) throws {
    try inWorld { world in
      let lanes = world.size + more
      var queue = try LaneQueue(lanes: lanes, isShared: isShared, world: world)
      for step in 0..<20 {
        var taken: [UInt8] = []
        // Some rank is slow, another one each step.
        while let lane = try queue.next(world: world) {
          taken.append(UInt8(lane))
          if step % world.size == world.rank { usleep(300) }
          queue.serve(world: world)
        }
        let all = try world.allGather(taken)
        try queue.refill(world: world)
        try world.barrier()
        #expect(all.joined().sorted() == (0..<lanes).map(UInt8.init))
        let own = taken.prefix { queue.own.contains(Int($0)) }
        #expect(own.elementsEqual(own.sorted()))
        #expect(taken[own.count...].allSatisfy { !queue.own.contains(Int($0)) })
        if !isShared { #expect(taken.map(Int.init) == Array(queue.own)) }
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

  /// Bounds at random places, some slices empty.
  private static func unevenSlices(count: Int, size: Int) -> [Range<Int>] {
    var random = CounterRandom(seed: 3, purpose: .initialisation).stream(UInt32(count), UInt32(size))
    var bounds = (1..<max(size, 1)).map { _ in Int(random.next(below: UInt32(count + 1))) }
    if bounds.count > 2 { bounds[1] = bounds[0] }
    bounds = [0] + bounds.sorted() + [count]
    return (0..<size).map { bounds[$0]..<bounds[$0 + 1] }
  }

  /// 16 lanes in any world, with any who does them: a number written down, so that worlds of different sizes are compared with each
  /// other.
  @Test(arguments: [4, 2], [false, true])
  func everySizeAddsUpToTheSameBits(width: Int, isReplicated: Bool) throws {
    try inWorld { world in
      let (lanes, count) = (16, 3 * SlicePartition.chunkSize + 11)
      let partition = SlicePartition(count: count, size: world.size)
      let wide = GradientPart(tensors: [0..<1000], width: 4)
      let parts = [wide, GradientPart(tensors: [1000..<100_001, 100_001..<count], width: width)]
      let sum = GradientSum(
        parts: parts, partition: partition, hosts: try world.hostLayout(), rank: world.rank,
        isReplicated: isReplicated)
      let lane = FloatBuffer(count: count)
      let total = FloatBuffer(count: count)
      var digests: [UInt64] = []
      // In runs; and then as they come, with powers that are known from before.
      for own in [
        evenRun(world.rank, of: world.size, total: lanes).reversed(),
        (0..<lanes).filter { ($0 * 5) % world.size == world.rank },
      ] {
        var rounds = 0
        var agreement: SumAgreement
        repeat {
          rounds += 1
          sum.clear()
          for number in own {
            for (i, value) in gradient(lane: number, count: 1024).enumerated() {
              for j in stride(from: i, to: count, by: 1024) { lane.view[j] = value }
            }
            sum.add(lane.view, at: 0..<count)
            sum.note()
          }
          agreement = try sum.agree(world: world)
        } while agreement == .raised
        #expect(agreement == .fits && rounds == (digests.isEmpty ? 2 : 1))
        var told: [Int] = []
        try sum.reduce(world: world) { told.append($0) }
        #expect(told == (world.size == 1 ? [] : [0]))
        let read = isReplicated ? [0..<count] : partition.slice(of: world.rank)
        for run in read { sum.read(run, into: total.view[run]) }
        if !isReplicated { try world.allGather(total.view, parts: partition.slices) }
        digests.append(
          total.view.array.reduce(UInt64(14_695_981_039_346_656_037)) {
            ($0 ^ UInt64($1.bitPattern)) &* 1_099_511_628_211
          })
      }
      #expect(digests[0] == digests[1])
      #expect(
        digests[0] == (width == 4 ? 12_660_779_551_989_558_282 : 3_042_280_473_410_211_999), "\(width) bytes"
      )
    }
  }

  @Test func wordsAddUp() throws {
    try inWorld { world in
      for count in [1, 1000] {
        var words = (0..<count).map { UInt64($0) << 40 + UInt64(world.rank) }
        let before = world.bytesSent(by: .allReduce)
        try world.sum(&words)
        let size = UInt64(world.size)
        #expect(words == (0..<count).map { UInt64($0) << 40 * size + size * (size - 1) / 2 })
        let own = evenRun(world.rank, of: world.size, total: count).count
        #expect(world.bytesSent(by: .allReduce) - before == 2 * 8 * (count - own))
      }
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
