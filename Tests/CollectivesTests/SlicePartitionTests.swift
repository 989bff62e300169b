import Collectives
import Testing

@Suite struct SlicePartitionTests {
  static let chunk = SlicePartition.chunkSize

  @Test(arguments: [0, 1, chunk - 1, chunk, chunk + 1, 5 * chunk, 40 * chunk + 17])
  func slicesCoverTheVectorInWholeChunks(count: Int) {
    for size in 1...40 {
      let partition = SlicePartition(count: count, size: size)
      #expect(partition.slices.count == size)
      var end = 0
      for (rank, slice) in partition.slices.enumerated() {
        #expect(slice.lowerBound == end)
        end = slice.upperBound
        let chunks = partition.chunks(in: slice)
        #expect(chunks == partition.chunkIndices(of: rank).map { partition.elements(ofChunk: $0) })
        #expect(chunks.reduce(0) { $0 + $1.count } == slice.count)
        #expect(chunks.allSatisfy { $0.lowerBound % Self.chunk == 0 })
      }
      #expect(end == count)
      let lengths = (0..<size).map { partition.chunkIndices(of: $0).count }
      #expect(lengths.max()! - lengths.min()! <= 1)
    }
  }

  @Test func chunksDoNotDependOnTheSize() {
    let count = 13 * Self.chunk + 5
    let whole = SlicePartition(count: count, size: 1).chunks(in: 0..<count)
    for size in 2...20 {
      let partition = SlicePartition(count: count, size: size)
      #expect(partition.slices.flatMap { partition.chunks(in: $0) } == whole)
    }
  }
}
