import Coordinator
import Kernels
import Testing

struct KeyedPermutationTests {
  @Test(arguments: [1, 2, 3, 4, 5, 7, 8, 31, 64, 100, 1_000, 65_536, 70_001])
  func isAPermutation(count: Int) {
    let permutation = KeyedPermutation(
      count: count, random: CounterRandom(seed: 3, purpose: .sampleOrder), place: (1, 2, 3))
    var seen = [Bool](repeating: false, count: count)
    for index in 0..<count {
      #expect(!seen[permutation[index]])
      seen[permutation[index]] = true
    }
    if count >= 100 { #expect((0..<count).count { permutation[$0] == $0 } < 10) }
  }

  /// Over many keys every index comes to every place equally often, and so does every pair of neighbours' order.
  @Test(arguments: [3, 5, 10, 16]) func isUniformOverKeys(count: Int) {
    let keys = 8_000
    var table = [Int](repeating: 0, count: count * count)
    var ascending = 0
    for key in 0..<keys {
      let permutation = KeyedPermutation(
        count: count, random: CounterRandom(seed: 11, purpose: .sampleOrder), place: (UInt32(key), 0, 0))
      for index in 0..<count { table[index * count + permutation[index]] += 1 }
      if permutation[0] < permutation[1] { ascending += 1 }
    }
    let expected = Double(keys) / Double(count)
    let chiSquare = table.reduce(0) { $0 + (Double($1) - expected) * (Double($1) - expected) / expected }
    let freedom = Double((count - 1) * (count - 1))
    #expect(chiSquare < freedom + 5 * (2 * freedom).squareRoot())
    #expect(abs(Double(ascending) - Double(keys) / 2) < 5 * (Double(keys) / 4).squareRoot())
  }

  @Test func neighboursLandFarApart() {
    let count = 65_536
    let permutation = KeyedPermutation(
      count: count, random: CounterRandom(seed: 5, purpose: .sampleOrder), place: (0, 0, 0))
    // For a random permutation the mean distance of images is a third of the range.
    let distance = (1..<count).reduce(0.0) { $0 + abs(Double(permutation[$1] - permutation[$1 - 1])) }
    #expect(abs(distance / Double(count - 1) / Double(count) - 1 / 3.0) < 0.01)
  }
}

struct ScheduleTests {
  /// All samples of one epoch, lane after lane.
  private func samples(_ schedule: Schedule, epoch: Int) -> [[UInt64]] {
    (0..<schedule.lanes).map { lane in
      (0..<schedule.stepsPerEpoch).flatMap { step in
        (0..<schedule.microBatch).map { index in
          let (found, sample) = schedule.sample(
            step: epoch * schedule.stepsPerEpoch + step, lane: lane, index: index)
          #expect(found == epoch)
          return sample
        }
      }
    }
  }

  @Test(arguments: 0..<60) func everySampleOnceButForTheTail(seed: UInt64) throws {
    var random = CaseGenerator(state: seed)
    let shards = (0..<Int.random(in: 1...12, using: &random)).map { _ in
      Int.random(in: 0...120, using: &random)
    }
    let microBatch = Int.random(in: 1...5, using: &random)
    let globalBatch = microBatch * Int.random(in: 1...8, using: &random)
    let total = shards.reduce(0, +)
    guard total >= globalBatch else {
      #expect(throws: ScheduleError.tooFewSamples(samples: total, globalBatch: globalBatch)) {
        try Schedule(shardSampleCounts: shards, seed: seed, globalBatch: globalBatch, microBatch: microBatch)
      }
      return
    }
    let schedule = try Schedule(
      shardSampleCounts: shards, seed: seed, globalBatch: globalBatch, microBatch: microBatch,
      window: Int.random(in: 1...40, using: &random))
    #expect(schedule.tail == total % globalBatch && schedule.sampleCount == total)
    let starts = shards.indices.map { shards[..<$0].reduce(0, +) }
    for epoch in 0..<3 {
      let lanes = samples(schedule, epoch: epoch)
      let all = lanes.joined()
      #expect(all.count == total - schedule.tail)
      #expect(Set(all).count == all.count)
      #expect(all.allSatisfy { $0 < UInt64(total) })
      for (lane, samples) in lanes.enumerated() {
        let opened = Set(schedule.shards(lane: lane, epoch: UInt32(epoch)))
        let used = Set(
          samples.map { sample in starts.lastIndex { UInt64($0) <= sample && sample < UInt64(total) }! })
        let holding = Set(
          used.map { shard in
            shards[shard] > 0 ? shard : shards.indices.first { $0 > shard && shards[$0] > 0 }!
          })
        #expect(opened == holding)
      }
    }
  }

  @Test func epochsDifferAndTheTailRotates() throws {
    let schedule = try Schedule(shardSampleCounts: [50, 53], seed: 9, globalBatch: 20, microBatch: 5)
    #expect(schedule.stepsPerEpoch == 5 && schedule.tail == 3 && schedule.lanes == 4)
    var leftOut: Set<UInt64> = []
    var orders: Set<[UInt64]> = []
    for epoch in 0..<40 {
      let all = Array(samples(schedule, epoch: epoch).joined())
      leftOut.formUnion(Set(0..<103).subtracting(all))
      orders.insert(all)
    }
    #expect(orders.count == 40)
    // 40 random runs of three samples out of 103 reach most of them.
    #expect(leftOut.count > 50)
  }

  @Test func seedsDiffer() throws {
    let first = try Schedule(shardSampleCounts: [200], seed: 1, globalBatch: 8, microBatch: 2)
    let second = try Schedule(shardSampleCounts: [200], seed: 2, globalBatch: 8, microBatch: 2)
    #expect(samples(first, epoch: 0) != samples(second, epoch: 0))
    #expect(first.digest != second.digest)
  }

  @Test func lanesReadFewShards() throws {
    let schedule = try Schedule(
      shardSampleCounts: Array(repeating: 1_000, count: 16), seed: 4, globalBatch: 64, microBatch: 8)
    for lane in 0..<8 { #expect(schedule.shards(lane: lane, epoch: 3).count <= 3) }
  }

  @Test func oneShardIsReadByAllLanes() throws {
    let schedule = try Schedule(shardSampleCounts: [0, 100, 0], seed: 4, globalBatch: 4, microBatch: 1)
    for lane in 0..<4 { #expect(schedule.shards(lane: lane, epoch: 0) == [1]) }
  }

  @Test func anyOrderOfCallsGivesTheSame() throws {
    let make = { try Schedule(shardSampleCounts: [30, 41, 29], seed: 8, globalBatch: 10, microBatch: 5) }
    let (forward, backward) = (try make(), try make())
    let steps = Array(0..<40)
    let a = steps.map { forward.sample(step: $0, lane: 1, index: 2).sample }
    let b = steps.reversed().map { backward.sample(step: $0, lane: 1, index: 2).sample }
    #expect(a == b.reversed())
  }

  @Test func tooFewSamplesSaysWhatToDo() {
    #expect {
      try Schedule(shardSampleCounts: [3, 4], seed: 0, globalBatch: 8, microBatch: 4)
    } throws: { error in
      "\(error)" == "the corpus gives 7 samples, fewer than training.global_batch = 8; "
        + "use more text, or a training.global_batch of at most 7"
    }
  }

  @Test func digestCoversEveryDefiningNumber() throws {
    func digest(_ shards: [Int], _ seed: UInt64, _ batch: Int, _ micro: Int, _ window: Int) throws -> String {
      try Schedule(
        shardSampleCounts: shards, seed: seed, globalBatch: batch, microBatch: micro, window: window
      ).digest
    }
    let digests = try [
      digest([50, 50], 1, 8, 4, 16), digest([49, 51], 1, 8, 4, 16), digest([50, 50], 2, 8, 4, 16),
      digest([50, 50], 1, 16, 4, 16), digest([50, 50], 1, 8, 2, 16), digest([50, 50], 1, 8, 4, 17),
    ]
    #expect(Set(digests).count == digests.count)
  }

  @Test func historyDependsOnEveryStep() throws {
    let schedule = try Schedule(shardSampleCounts: [64], seed: 1, globalBatch: 8, microBatch: 4)
    let first = schedule.history(after: "", step: 0)
    let second = schedule.history(after: first, step: 1)
    #expect(first.count == 64 && first != second)
    #expect(schedule.history(after: first, step: 2) != second)
    #expect(schedule.history(after: "", step: 1) != second)
  }

  @Test func planInWords() throws {
    let schedule = try Schedule(shardSampleCounts: [60, 43], seed: 1, globalBatch: 20, microBatch: 5)
    #expect(
      schedule.plan(steps: 12).description
        == "103 samples in 2 shard(s); 4 lane(s) of 5; 5 steps an epoch, 3 samples left out of each; "
        + "12 steps are 2.4 epochs")
  }
}

/// Orders that must never change: a run resumed by a later release reads the very same samples.
struct ScheduleStabilityTests {
  @Test func small() throws {
    let schedule = try Schedule(
      shardSampleCounts: [11, 0, 7, 5], seed: 42, globalBatch: 4, microBatch: 2, window: 6)
    let steps = (0..<10).map { step in
      (0..<2).flatMap { lane in (0..<2).map { schedule.sample(step: step, lane: lane, index: $0).sample } }
    }
    #expect(
      steps == [
        [1, 3, 18, 19], [2, 17, 8, 10], [16, 0, 9, 20], [6, 4, 12, 11], [7, 5, 21, 22], [20, 17, 7, 4],
        [21, 19, 3, 5], [18, 16, 8, 6], [2, 0, 11, 12], [1, 22, 10, 9],
      ])
    #expect(schedule.digest == "68ae7cf4c407284492629863b130d9a384331c9bf8af53a05bf94906922eae94")
  }

  @Test func large() throws {
    let schedule = try Schedule(
      shardSampleCounts: [400_000, 1_000_000, 3, 700_000], seed: 2_024, globalBatch: 512, microBatch: 8)
    var history = ""
    for step in [0, 1, 4_100, 4_101, 4_102, 500_000] {
      history = schedule.history(after: history, step: step)
    }
    #expect(history == "d340fa0140be5f01232f35f8bf471dc779e9f2765fcc7a6cd6c49b45c4e6e6df")
    #expect(schedule.sample(step: 123_456, lane: 63, index: 7) == (30, 1_513_645))
  }
}
