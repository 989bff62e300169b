/// Owns the memory of many tensors and bit matrices that live and die together; all zero at first. Pages of large ones
/// take physical memory once they are written.
public struct Arena: ~Copyable {
  private var blocks: [ZeroMemory] = []
  /// How many of `blocks` are handed out.
  private var used = 0
  /// Bytes handed out.
  public private(set) var byteCount = 0

  public init() {}

  deinit { for block in blocks { block.deallocate() } }

  /// `count` float32 elements, valid while this arena lives.
  ///
  /// - Cost: one allocation.
  public mutating func floats(_ count: Int) -> FloatView {
    precondition(count >= 0, "an arena asked for \(count) floats")
    return FloatView(base: allocate(count, of: Float.self), count: count)
  }

  /// A rows×columns bit matrix, valid while this arena lives.
  ///
  /// - Cost: one allocation.
  public mutating func bits(rows: Int, columns: Int) -> BitView {
    precondition(rows >= 0 && columns > 0, "an arena asked for \(rows)×\(columns) bits")
    let words = rows * ((columns + 63) / 64)
    return BitView(base: allocate(words, of: UInt64.self), rows: rows, columns: columns)
  }

  /// `count` words of 64 bits, valid while this arena lives.
  ///
  /// - Cost: one allocation.
  public mutating func words(_ count: Int) -> UnsafeMutablePointer<UInt64> {
    precondition(count >= 0, "an arena asked for \(count) words")
    return allocate(count, of: UInt64.self)
  }

  /// A rows×columns bit matrix in the interleaved layout, valid while this arena lives.
  ///
  /// - Cost: one allocation.
  public mutating func interleavedBits(rows: Int, columns: Int) -> InterleavedView {
    let words = (rows + 7) / 8 * 8 * ((columns + 63) / 64)
    return InterleavedView(base: allocate(words, of: UInt64.self), rows: rows, columns: columns)
  }

  /// `count` elements of a plain type, zero at first, valid while this arena lives.
  ///
  /// - Cost: one allocation.
  public mutating func elements<Element: BitwiseCopyable>(
    _ count: Int, of type: Element.Type
  ) -> UnsafeMutablePointer<Element> {
    precondition(count >= 0, "an arena asked for \(count) elements")
    return allocate(count, of: type)
  }

  /// The blocks handed out so far, to go back to with `reuse(from:)`.
  public var mark: Int { used }

  /// Hands the blocks given out since `mark` out again, in the same order, to tensors of the same sizes that are needed at
  /// other times. They then are not zero at first.
  public mutating func reuse(from mark: Int) {
    precondition(mark >= 0 && mark <= used, "a mark of \(mark) of \(used) blocks")
    used = mark
  }

  private mutating func allocate<Element: BitwiseCopyable>(
    _ count: Int, of type: Element.Type
  ) -> UnsafeMutablePointer<Element> {
    let size = max(64, count * MemoryLayout<Element>.stride)
    if used == blocks.count {
      blocks.append(ZeroMemory(byteCount: size))
      byteCount += size
    }
    let block = blocks[used]
    precondition(block.byteCount == size, "\(size) bytes in place of \(block.byteCount)")
    used += 1
    return block.base.assumingMemoryBound(to: Element.self)
  }
}
