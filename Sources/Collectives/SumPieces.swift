/// The pieces of a flat vector that share a power of two each: a tensor's part of a block of the vector.
///
/// A small tensor does not share that of a large one beside it, and no piece crosses the edge of a block, so whoever owns whole
/// blocks owns whole pieces. Elements between tensors are in no piece.
public struct SumPieces: Equatable, Sendable {
  /// Elements of each piece, in flat order.
  public let ranges: [Range<Int>]
  /// The pieces of each table, of those that have several.
  let tables: [Range<Int>]

  /// - Parameters:
  ///   - tensors: their elements, in flat order.
  ///   - blockSize: elements of a block.
  ///   - tables: those of them, any row of which may come to have as large a gradient as any other.
  public init(tensors: [Range<Int>], blockSize: Int, tables: [Range<Int>] = []) {
    precondition(blockSize > 0, "blocks of \(blockSize) elements")
    var ranges: [Range<Int>] = []
    var found: [Range<Int>] = []
    for tensor in tensors {
      let number = ranges.count
      precondition(tensor.lowerBound >= ranges.last?.upperBound ?? 0, "tensors out of order at \(tensor)")
      var first = tensor.lowerBound
      while first < tensor.upperBound {
        let end = min(tensor.upperBound, (first / blockSize + 1) * blockSize)
        ranges.append(first..<end)
        first = end
      }
      if tables.contains(tensor), ranges.count > number + 1 { found.append(number..<ranges.count) }
    }
    self.ranges = ranges
    self.tables = found
  }

  /// The numbers of the pieces that lie in `elements`, which cuts none.
  ///
  /// - Cost: O(log pieces).
  public func pieces(in elements: Range<Int>) -> Range<Int> {
    let first = firstPiece { $0.lowerBound >= elements.lowerBound }
    let end = max(first, firstPiece { $0.upperBound > elements.upperBound })
    for (neighbour, bound) in [(first - 1, elements.lowerBound), (end, elements.upperBound)]
    where ranges.indices.contains(neighbour) {
      precondition(
        !(ranges[neighbour].lowerBound < bound && bound < ranges[neighbour].upperBound),
        "elements \(elements) cut the piece \(ranges[neighbour])")
    }
    return first..<end
  }

  /// The number of the piece that the element `element` is in, or of the next one.
  func piece(of element: Int) -> Int { firstPiece { $0.upperBound > element } }

  /// The first piece of which `condition` holds, as it does of all that follow; their number if of none.
  private func firstPiece(where condition: (Range<Int>) -> Bool) -> Int {
    var (low, high) = (0, ranges.count)
    while low < high {
      let middle = (low + high) / 2
      if condition(ranges[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
