/// How a flat vector of `count` elements is shared among the owners of a world of `size` ranks.
///
/// The vector is cut into fixed chunks of 65,536 elements (the last may be shorter), whatever the world size; rank r owns
/// a run of consecutive chunks, as even as possible. Sums over the vector are made chunk by chunk, and the chunks'
/// sums added in order, so they too are the same for every world size.
public struct SlicePartition: Equatable, Sendable {
  /// Elements of a chunk.
  public static let chunkSize = 65_536

  public let count: Int
  public let size: Int

  public init(count: Int, size: Int) {
    precondition(count >= 0 && size > 0, "\(count) elements shared by \(size) ranks")
    self.count = count
    self.size = size
  }

  public var chunkCount: Int { (count + Self.chunkSize - 1) / Self.chunkSize }

  /// The chunks that `rank` owns, perhaps none.
  public func chunkIndices(of rank: Int) -> Range<Int> { evenRun(rank, of: size, total: chunkCount) }

  /// The elements of a chunk.
  public func elements(ofChunk chunk: Int) -> Range<Int> {
    precondition(chunk >= 0 && chunk < chunkCount, "chunk \(chunk) of \(chunkCount)")
    return chunk * Self.chunkSize..<min((chunk + 1) * Self.chunkSize, count)
  }

  /// The elements that `rank` owns.
  public func slice(of rank: Int) -> Range<Int> {
    let chunks = chunkIndices(of: rank)
    return min(chunks.lowerBound * Self.chunkSize, count)..<min(chunks.upperBound * Self.chunkSize, count)
  }

  /// The elements of each rank, in rank order; together they are 0 ..< count.
  public var slices: [Range<Int>] { (0..<size).map { slice(of: $0) } }

  /// The element ranges of the chunks of `slice`, a run of whole chunks.
  public func chunks(in slice: Range<Int>) -> [Range<Int>] {
    precondition(
      slice.lowerBound % Self.chunkSize == 0 || slice.lowerBound == count,
      "slice \(slice) does not begin with a chunk")
    precondition(
      slice.upperBound % Self.chunkSize == 0 || slice.upperBound == count,
      "slice \(slice) does not end with a chunk")
    return stride(from: slice.lowerBound, to: slice.upperBound, by: Self.chunkSize).map {
      $0..<min($0 + Self.chunkSize, slice.upperBound)
    }
  }
}
