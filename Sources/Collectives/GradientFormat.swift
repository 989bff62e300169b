/// The integers in which the gradients of lanes are added, and in which they travel between ranks.
public enum GradientFormat: String, CaseIterable, Sendable {
  /// 32 bits.
  case int32
  /// 16 bits for matrices, in smaller pieces; 32 for all else. (In a table of words a row has now a large gradient and now almost
  /// none: with few bits either it would be rounded coarsely or most steps done again.)
  case int16

  /// Whether the gradients of matrices are rounded for each slice of a micro-batch, so that no float32 vector of them is needed; 16
  /// bits are too few for so many roundings.
  public var takesMatricesBySlice: Bool { self == .int32 }

  /// The most lanes of a step: each adds 1 or more to what bounds the sum, which leaves headroom of two bits.
  public var largestLaneCount: Int { self == .int32 ? 1 << 29 : 1 << 13 }
}

/// A part of a gradient that is added in one kind of integer.
public struct GradientPart: Equatable, Sendable {
  /// Bytes of an integer, 2 or 4.
  public let width: Int
  /// What shares a power of two: up to 65,536 elements of a tensor in 4 bytes, 1,024 in 2.
  public let pieces: SumPieces
  /// The elements of all pieces, in flat order; ranges that touch are one.
  public let elements: [Range<Int>]

  /// - Parameters:
  ///   - tensors: their elements, in flat order.
  ///   - tables: see `SumPieces`.
  public init(tensors: [Range<Int>], tables: [Range<Int>] = [], width: Int) {
    precondition(width == 2 || width == 4, "integers of \(width) bytes")
    self.width = width
    pieces = SumPieces(
      tensors: tensors, blockSize: width == 2 ? 1024 : SlicePartition.chunkSize, tables: tables)
    elements = pieces.ranges.reduce(into: []) { ranges, piece in
      if let last = ranges.last, last.upperBound == piece.lowerBound {
        ranges[ranges.count - 1] = last.lowerBound..<piece.upperBound
      } else {
        ranges.append(piece)
      }
    }
  }

  /// Its elements in each bucket of `partition`, by their owners.
  public func owned(_ partition: SlicePartition) -> [[[Range<Int>]]] {
    partition.buckets.map { $0.map { run in elements(in: run) } }
  }

  /// Its elements in `range`.
  public func elements(in range: Range<Int>) -> [Range<Int>] {
    elements[firstRange(endingAfter: range.lowerBound)...].prefix { $0.lowerBound < range.upperBound }
      .map { $0.clamped(to: range) }.filter { !$0.isEmpty }
  }

  /// Whether `element` is one of its.
  func contains(_ element: Int) -> Bool {
    let index = firstRange(endingAfter: element)
    return index < elements.count && elements[index].lowerBound <= element
  }

  private func firstRange(endingAfter element: Int) -> Int {
    var (low, high) = (0, elements.count)
    while low < high {
      let middle = (low + high) / 2
      if elements[middle].upperBound > element { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
