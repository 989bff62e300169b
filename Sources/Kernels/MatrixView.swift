/// A row-major rows×columns float32 matrix whose rows lie `stride` elements apart; copying it copies no data.
public struct MatrixView {
  public let base: UnsafeMutablePointer<Float>
  public let rows: Int
  public let columns: Int
  public let stride: Int

  public init(base: UnsafeMutablePointer<Float>, rows: Int, columns: Int, stride: Int) {
    precondition(
      rows >= 0 && columns >= 0 && stride >= columns, "a matrix \(rows)×\(columns), stride \(stride)")
    self.base = base
    self.rows = rows
    self.columns = columns
    self.stride = stride
  }

  /// The first rows×columns elements of `view`, densely.
  public init(_ view: FloatView, rows: Int, columns: Int) {
    precondition(rows * columns <= view.count, "a matrix \(rows)×\(columns) of \(view.count) elements")
    self.init(base: view.base, rows: rows, columns: columns, stride: columns)
  }

  /// All elements of a matrix without gaps between its rows.
  public var dense: FloatView {
    precondition(stride == columns || rows <= 1, "rows of \(columns), \(stride) apart")
    return FloatView(base: base, count: rows * columns)
  }

  public subscript(rows range: Range<Int>) -> MatrixView {
    precondition(range.lowerBound >= 0 && range.upperBound <= rows, "rows \(range) of \(rows)")
    return MatrixView(
      base: base + range.lowerBound * stride, rows: range.count, columns: columns, stride: stride)
  }

  public subscript(columns range: Range<Int>) -> MatrixView {
    precondition(range.lowerBound >= 0 && range.upperBound <= columns, "columns \(range) of \(columns)")
    return MatrixView(base: base + range.lowerBound, rows: rows, columns: range.count, stride: stride)
  }
}
