import DurableFiles
import Foundation
import Kernels
import Synchronization

/// Which sample each place of each step is: a pure function of the corpus' shard sizes, the seed and the batch sizes.
///
/// An epoch permutes the shards, rotates the sequence of their samples by a random offset (so that another tail is left
/// out each time), cuts what fills whole steps into V equal lanes, and permutes within each lane's windows. So a lane
/// reads few shards, one after the other, and every sample comes once an epoch but for the tail. World size and threads
/// do not enter.
public struct Schedule: Sendable {
  /// Samples in each shard.
  public let shardSampleCounts: [Int]
  public let seed: UInt64
  /// Samples a step.
  public let globalBatch: Int
  /// Samples a lane and step.
  public let microBatch: Int
  /// Samples of a lane that are shuffled among themselves.
  public let window: Int
  /// Lanes: global batch / micro-batch.
  public let lanes: Int
  /// Samples in the corpus.
  public let sampleCount: Int
  public let stepsPerEpoch: Int
  /// Samples that an epoch leaves out: fewer than a global batch.
  public let tail: Int
  /// First sample of each shard; samples are numbered through the shards in their order.
  private let firstSamples: [Int]
  private let memo: EpochMemo

  /// - Throws: `ScheduleError.tooFewSamples` if the corpus does not fill one step.
  /// - Cost: linear in the shards.
  public init(
    shardSampleCounts: [Int], seed: UInt64, globalBatch: Int, microBatch: Int, window: Int = 65_536
  ) throws(ScheduleError) {
    precondition(
      microBatch > 0 && globalBatch > 0 && globalBatch % microBatch == 0,
      "a global batch of \(globalBatch) in micro-batches of \(microBatch)")
    precondition(window > 0 && window <= 1 << 40, "a window of \(window) samples")
    precondition(!shardSampleCounts.contains { $0 < 0 }, "a shard of a negative number of samples")
    self.shardSampleCounts = shardSampleCounts
    self.seed = seed
    self.globalBatch = globalBatch
    self.microBatch = microBatch
    self.window = window
    lanes = globalBatch / microBatch
    var firsts: [Int] = []
    var total = 0
    for count in shardSampleCounts {
      firsts.append(total)
      total += count
    }
    sampleCount = total
    firstSamples = firsts
    if total < globalBatch { throw .tooFewSamples(samples: total, globalBatch: globalBatch) }
    stepsPerEpoch = total / globalBatch
    tail = total % globalBatch
    memo = EpochMemo()
  }

  /// Samples of a lane and epoch.
  public var laneLength: Int { stepsPerEpoch * microBatch }

  /// The epoch that step `step` (from 0) belongs to.
  public func epoch(step: Int) -> UInt32 { UInt32(step / stepsPerEpoch) }

  /// The sample at place `index` of the micro-batch of `lane` in `step` (all from 0). The epoch keys what is drawn for
  /// the sample (pair, masks, dropout).
  ///
  /// - Cost: O(log shards) and a keyed permutation; the first call of an epoch O(shards) and one allocation.
  public func sample(step: Int, lane: Int, index: Int) -> (epoch: UInt32, sample: UInt64) {
    precondition(
      step >= 0 && lane >= 0 && lane < lanes && index >= 0 && index < microBatch,
      "place \(index) of lane \(lane) in step \(step), of \(microBatch) places and \(lanes) lanes")
    let epoch = epoch(step: step)
    let place = step % stepsPerEpoch * microBatch + index
    let windowIndex = place / window
    let start = windowIndex * window
    let permutation = KeyedPermutation(
      count: min(window, laneLength - start), random: CounterRandom(seed: seed, purpose: .sampleOrder),
      place: (epoch, UInt32(lane), UInt32(windowIndex)))
    let position = lane * laneLength + start + permutation[place - start]
    return (epoch, UInt64(order(epoch: epoch).sample(at: position, firstSamples)))
  }

  /// The shards that hold samples of `lane` in `epoch`, in the order in which the lane comes to them.
  ///
  /// - Cost: O(shards).
  public func shards(lane: Int, epoch: UInt32) -> [Int] {
    precondition(lane >= 0 && lane < lanes, "lane \(lane) of \(lanes)")
    return order(epoch: epoch).shards(positions: lane * laneLength..<(lane + 1) * laneLength)
  }

  /// SHA-256 over all that defines this schedule, for checkpoints. The version counts what defines the samples too: from 2 on
  /// sentences longer than a sample are cut into pieces, and a pair that is too long is cut to one of few even runs.
  public var digest: String {
    let text =
      "bipft schedule 2\nseed \(seed)\nglobal batch \(globalBatch)\nmicro-batch \(microBatch)\nwindow \(window)\n"
      + "shards \(shardSampleCounts.map(String.init).joined(separator: " "))\n"
    return SHA256.digest(Array(text.utf8))
  }

  /// A running hash of the samples that were trained on: SHA-256 of `previous` (empty before the first step) and the
  /// epoch and samples of `step`, lane after lane.
  ///
  /// - Cost: one look-up for each sample of the step.
  public func history(after previous: String, step: Int) -> String {
    var hash = SHA256()
    hash.update(Array(previous.utf8))
    for lane in 0..<lanes {
      for index in 0..<microBatch {
        let (epoch, sample) = sample(step: step, lane: lane, index: index)
        withUnsafeBytes(of: (UInt64(epoch).littleEndian, sample.littleEndian)) {
          hash.update($0)
        }
      }
    }
    return hash.finish()
  }

  private func order(epoch: UInt32) -> EpochOrder {
    memo.last.withLock { last in
      if let last, last.epoch == epoch { return last }
      let order = EpochOrder(epoch: epoch, seed: seed, shardSampleCounts, sampleCount)
      last = order
      return order
    }
  }
}

/// The order computed last; only a memory, never part of a result.
private final class EpochMemo: Sendable {
  let last = Mutex<EpochOrder?>(nil)
}

/// The sequence of all samples in one epoch.
private struct EpochOrder: Sendable {
  let epoch: UInt32
  /// The shards that are not empty, permuted.
  let shards: [Int]
  /// Where each of `shards` ends in the sequence before rotation.
  let ends: [Int]
  let offset: Int

  init(epoch: UInt32, seed: UInt64, _ counts: [Int], _ total: Int) {
    self.epoch = epoch
    let random = CounterRandom(seed: seed, purpose: .shardOrder)
    var order = counts.indices.filter { counts[$0] > 0 }
    var stream = random.stream(epoch)
    stream.shuffle(&order)
    shards = order
    var sum = 0
    ends = order.map { shard in
      sum += counts[shard]
      return sum
    }
    // 64 random bits scaled to 0 ..< total; the bias is below total / 2^64.
    var bits = random.stream(epoch, 1)
    let number = UInt64(bits.next()) << 32 | UInt64(bits.next())
    offset = Int(number.multipliedFullWidth(by: UInt64(total)).high)
  }

  private var total: Int { ends[ends.count - 1] }

  /// Index into `shards` of the one that holds `place` of the sequence before rotation: the first that ends after it.
  private func find(_ place: Int) -> Int {
    var (low, high) = (0, ends.count - 1)
    while low < high {
      let middle = (low + high) / 2
      if ends[middle] > place { high = middle } else { low = middle + 1 }
    }
    return low
  }

  func sample(at position: Int, _ firstSamples: [Int]) -> Int {
    let place = (position + offset) % total
    let index = find(place)
    let start = index == 0 ? 0 : ends[index - 1]
    return firstSamples[shards[index]] + place - start
  }

  func shards(positions: Range<Int>) -> [Int] {
    var result: [Int] = []
    var position = positions.lowerBound
    while position < positions.upperBound {
      let place = (position + offset) % total
      let index = find(place)
      if !result.contains(shards[index]) { result.append(shards[index]) }
      position += ends[index] - place
    }
    return result
  }
}

/// What can be wrong with a schedule. Each description is one line: what, where, and what to do next.
public enum ScheduleError: Error, Equatable, Sendable, CustomStringConvertible {
  /// An epoch would have no step.
  case tooFewSamples(samples: Int, globalBatch: Int)

  public var description: String {
    switch self {
    case .tooFewSamples(let samples, let globalBatch):
      return "the corpus gives \(samples) samples, fewer than training.global_batch = \(globalBatch); "
        + "use more text, or a training.global_batch of at most \(samples)"
    }
  }
}
