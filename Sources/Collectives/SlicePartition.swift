/// How a flat vector of `count` elements is shared among the owners of a world of `size` ranks.
///
/// The vector is cut into fixed chunks of 65,536 elements (the last may be shorter), whatever the world size, and these into
/// buckets of 16 chunks, or of as many as there are ranks, so that each has a part of every bucket. The ranks share each bucket in runs of whole chunks, as even as possible; from bucket to bucket
/// they take turns, so that who has a chunk more, or a run at the edge of a tensor, changes. A rank's slice is what it owns
/// of all buckets. So it has about 1/W of every large tensor, however that travels, and about 1/W of whatever part of
/// the vector is on its way at a time.
///
/// Sums over the vector are made chunk by chunk, and the chunks' sums added in order, so they too are the same for every
/// world size.
public struct SlicePartition: Equatable, Sendable {
  /// Elements of a chunk.
  public static let chunkSize = 65_536
  /// Chunks of a bucket, at least.
  public static let fewestChunks = 16

  public let count: Int
  public let size: Int

  public init(count: Int, size: Int) {
    precondition(count >= 0 && size > 0, "\(count) elements shared by \(size) ranks")
    self.count = count
    self.size = size
  }

  public var chunkCount: Int { (count + Self.chunkSize - 1) / Self.chunkSize }

  /// Elements of a bucket.
  public var bucketSize: Int { max(Self.fewestChunks, size) * Self.chunkSize }

  public var bucketCount: Int { (count + bucketSize - 1) / bucketSize }

  /// The elements of a bucket.
  public func elements(ofBucket bucket: Int) -> Range<Int> {
    precondition(bucket >= 0 && bucket < bucketCount, "bucket \(bucket) of \(bucketCount)")
    return bucket * bucketSize..<min((bucket + 1) * bucketSize, count)
  }

  /// The elements that `rank` owns in a bucket, perhaps none.
  public func run(of rank: Int, inBucket bucket: Int) -> Range<Int> {
    let whole = elements(ofBucket: bucket)
    let chunks = evenRun(
      (rank + bucket) % size, of: size, total: (whole.count + Self.chunkSize - 1) / Self.chunkSize)
    func bound(_ chunk: Int) -> Int { min(whole.lowerBound + chunk * Self.chunkSize, whole.upperBound) }
    return bound(chunks.lowerBound)..<bound(chunks.upperBound)
  }

  /// Of each bucket the runs of all ranks, in rank order.
  public var buckets: [[Range<Int>]] {
    (0..<bucketCount).map { bucket in (0..<size).map { run(of: $0, inBucket: bucket) } }
  }

  /// The elements that `rank` owns, as runs of whole chunks in flat order that do not touch.
  public func slice(of rank: Int) -> [Range<Int>] {
    var runs: [Range<Int>] = []
    for bucket in 0..<bucketCount {
      let run = run(of: rank, inBucket: bucket)
      if run.isEmpty { continue }
      if let last = runs.last, last.upperBound == run.lowerBound {
        runs[runs.count - 1] = last.lowerBound..<run.upperBound
      } else {
        runs.append(run)
      }
    }
    return runs
  }

  /// The elements of each rank, in rank order; together they are 0 ..< count.
  public var slices: [[Range<Int>]] { (0..<size).map { slice(of: $0) } }

  /// The numbers of the chunks of `run`, a run of whole chunks.
  public func chunkIndices(in run: Range<Int>) -> Range<Int> {
    for bound in [run.lowerBound, run.upperBound] {
      precondition(bound % Self.chunkSize == 0 || bound == count, "\(run) is not a run of whole chunks")
    }
    return run.lowerBound / Self.chunkSize..<(run.upperBound + Self.chunkSize - 1) / Self.chunkSize
  }

  /// The element ranges of the chunks of `run`, a run of whole chunks.
  public func chunks(in run: Range<Int>) -> [Range<Int>] {
    chunkIndices(in: run).map { $0 * Self.chunkSize..<min(($0 + 1) * Self.chunkSize, count) }
  }
}

/// Part `index` of `total` things cut into `count` consecutive runs whose lengths differ by at most one.
public func evenRun(_ index: Int, of count: Int, total: Int) -> Range<Int> {
  precondition(index >= 0 && index < count, "part \(index) of \(count)")
  return index * total / count..<(index + 1) * total / count
}
