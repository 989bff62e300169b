import Collectives
import Testing

@Suite struct SlicePartitionTests {
  static let chunk = SlicePartition.chunkSize
  static let bucket = SlicePartition.fewestChunks * SlicePartition.chunkSize

  @Test(arguments: [0, 1, chunk - 1, chunk, chunk + 1, 5 * chunk, bucket, 3 * bucket + 17, 40 * bucket - 17])
  func slicesTileTheVectorInWholeChunks(count: Int) {
    for size in 1...40 {
      let partition = SlicePartition(count: count, size: size)
      var owners = [Int](repeating: 0, count: partition.chunkCount)
      for slice in partition.slices {
        for (run, next) in zip(slice, slice.dropFirst()) { #expect(run.upperBound < next.lowerBound) }
        for run in slice {
          #expect(!run.isEmpty)
          let chunks = partition.chunks(in: run)
          #expect(chunks.first?.lowerBound == run.lowerBound && chunks.last?.upperBound == run.upperBound)
          for index in partition.chunkIndices(in: run) { owners[index] += 1 }
        }
      }
      #expect(owners.allSatisfy { $0 == 1 })
      #expect(partition.slices.joined().reduce(0) { $0 + $1.count } == count)
    }
  }

  /// Of the vector, and of any part of it that is not small, every rank has about as much.
  @Test func everyPartIsSharedEvenly() {
    let buckets = 24
    for size in 1...64 {
      let bucket = max(SlicePartition.fewestChunks, size) * Self.chunk
      let partition = SlicePartition(count: buckets * bucket, size: size)
      func chunks(_ part: Range<Int>) -> [Int] {
        partition.slices.map { slice in
          slice.reduce(0) { $0 + $1.clamped(to: part).count } / Self.chunk
        }
      }
      let whole = chunks(0..<partition.count)
      #expect(whole.max()! - whole.min()! <= 1, "\(size) ranks")
      for first in stride(from: 0, to: buckets - 4, by: 3) {
        let part = chunks(first * bucket..<(first + 4) * bucket)
        #expect(part.max()! - part.min()! <= 1, "\(size) ranks, buckets from \(first) on")
      }
    }
  }

  @Test(arguments: 1...20) func bucketsMakeTheSlices(size: Int) {
    let bucket = max(SlicePartition.fewestChunks, size) * Self.chunk
    let partition = SlicePartition(count: bucket + 3 * Self.chunk + 5, size: size)
    #expect(partition.buckets.count == 2)
    for (rank, slice) in partition.slices.enumerated() {
      let own = partition.buckets.flatMap { $0[rank] }
      #expect(own == slice.flatMap { Array($0) })
    }
    for (bucket, runs) in partition.buckets.enumerated() {
      let elements = partition.elements(ofBucket: bucket)
      #expect(runs.reduce(0) { $0 + $1.count } == elements.count)
      #expect(runs.allSatisfy { $0.clamped(to: elements) == $0 })
    }
  }
}
