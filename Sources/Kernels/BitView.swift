import CBitKernels

/// A rows×columns bit matrix that an `Arena` keeps alive: row-major, W = ceil(columns / 64) words a row, unused bits
/// zero. Copying it copies no data.
public struct BitView {
  public let base: UnsafeMutablePointer<UInt64>
  public let rows: Int
  public let columns: Int

  public init(base: UnsafeMutablePointer<UInt64>, rows: Int, columns: Int) {
    self.base = base
    self.rows = rows
    self.columns = columns
  }

  public var words: Int { (columns + 63) / 64 }

  /// The rows of `range`, sharing this view's memory.
  public subscript(rows range: Range<Int>) -> BitView {
    precondition(range.lowerBound >= 0 && range.upperBound <= rows, "rows \(range) of \(rows)")
    return BitView(base: base + range.lowerBound * words, rows: range.count, columns: columns)
  }

  public subscript(row: Int, column: Int) -> Bool {
    precondition(row >= 0 && row < rows && column >= 0 && column < columns, "bit \(row), \(column)")
    return base[row * words + column / 64] >> UInt64(column % 64) & 1 == 1
  }

  /// Writes the columns×rows transpose.
  ///
  /// - Cost: O(rows × columns / 64 × 6) word operations.
  public func transpose(into target: BitView) {
    precondition(
      target.rows == columns && target.columns == rows,
      "the transpose of \(rows)×\(columns) into \(target.rows)×\(target.columns)")
    bk_transpose(base, rows, columns, target.base)
  }

  /// Writes ±1-like floats: `high` where the bit is set, else `low`. `target` is rows×columns.
  public func unpack(high: Float, low: Float, into target: MatrixView) {
    precondition(
      target.rows == rows && target.columns == columns,
      "\(rows)×\(columns) bits into \(target.rows)×\(target.columns)")
    InstructionSet.table.pointee.unpack(base, rows, columns, high, low, target.base, target.stride)
  }
}

/// A rows×columns bit matrix whose rows are interleaved by eights for the right operand of products (layout in
/// bit_kernels.h).
public struct InterleavedView {
  public let base: UnsafeMutablePointer<UInt64>
  public let rows: Int
  public let columns: Int

  public init(base: UnsafeMutablePointer<UInt64>, rows: Int, columns: Int) {
    self.base = base
    self.rows = rows
    self.columns = columns
  }

  public var words: Int { (columns + 63) / 64 }

  /// Fills this view from rows of the same shape.
  public func interleave(_ source: BitView) {
    precondition(
      source.rows == rows && source.columns == columns,
      "\(source.rows)×\(source.columns) bits interleaved into \(rows)×\(columns)")
    bk_interleave(source.base, rows, words, base)
  }

  /// The rows of `range`, whose start is a multiple of 8, sharing this view's memory.
  public subscript(rows range: Range<Int>) -> InterleavedView {
    precondition(
      range.lowerBound >= 0 && range.lowerBound % 8 == 0 && range.upperBound <= rows,
      "rows \(range) of \(rows)")
    return InterleavedView(base: base + range.lowerBound * words, rows: range.count, columns: columns)
  }
}
