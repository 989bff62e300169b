import COpenBLAS
import Kernels

/// A rows×columns matrix in float64, row by row: for what is solved once, not for what is trained.
public struct DoubleMatrix: Equatable, Sendable {
  public let rows: Int
  public let columns: Int
  public var elements: [Double]

  /// All zero.
  public init(rows: Int, columns: Int) {
    self.init(rows: rows, columns: columns, elements: [Double](repeating: 0, count: rows * columns))
  }

  public init(rows: Int, columns: Int, elements: [Double]) {
    precondition(elements.count == rows * columns, "\(elements.count) elements for \(rows)×\(columns)")
    (self.rows, self.columns, self.elements) = (rows, columns, elements)
  }

  public subscript(row: Int, column: Int) -> Double {
    get { elements[row * columns + column] }
    set { elements[row * columns + column] = newValue }
  }

  public var transposed: DoubleMatrix {
    var out = DoubleMatrix(rows: columns, columns: rows)
    for row in 0..<rows { for column in 0..<columns { out[column, row] = self[row, column] } }
    return out
  }

  /// The first `count` columns.
  public func columns(first count: Int) -> DoubleMatrix {
    precondition(count <= columns, "\(count) columns of \(columns)")
    var out = DoubleMatrix(rows: rows, columns: count)
    for row in 0..<rows { for column in 0..<count { out[row, column] = self[row, column] } }
    return out
  }

  public var sumOfSquares: Double { elements.reduce(0) { $0 + $1 * $1 } }
  public var trace: Double { (0..<min(rows, columns)).reduce(0) { $0 + self[$1, $1] } }

  /// Σ of the products of two matrices' elements.
  public func dot(_ other: DoubleMatrix) -> Double {
    precondition(rows == other.rows && columns == other.columns, "matrices of unlike shapes")
    var sum = 0.0
    for (a, b) in zip(elements, other.elements) { sum += a * b }
    return sum
  }

  /// self += factor·other
  public mutating func add(_ other: DoubleMatrix, factor: Double = 1) {
    precondition(rows == other.rows && columns == other.columns, "matrices of unlike shapes")
    for index in elements.indices { elements[index] += factor * other.elements[index] }
  }
}

extension DoubleMatrix {
  /// The product of two matrices, each as it is or transposed, in float64 with OpenBLAS on the calling thread.
  ///
  /// - Cost: 2·M·N·K operations for a result of M×N.
  public static func product(
    _ a: DoubleMatrix, transposed transposesA: Bool = false, _ b: DoubleMatrix,
    otherTransposed transposesB: Bool = false
  ) -> DoubleMatrix {
    let (rows, depth) = transposesA ? (a.columns, a.rows) : (a.rows, a.columns)
    let (otherDepth, columns) = transposesB ? (b.columns, b.rows) : (b.rows, b.columns)
    precondition(depth == otherDepth, "a product over \(depth) and \(otherDepth)")
    var out = DoubleMatrix(rows: rows, columns: columns)
    guard rows > 0, columns > 0, depth > 0 else { return out }
    out.elements.withUnsafeMutableBufferPointer {
      cblas_dgemm(
        CblasRowMajor, transposesA ? CblasTrans : CblasNoTrans, transposesB ? CblasTrans : CblasNoTrans,
        Int32(rows), Int32(columns), Int32(depth), 1, a.elements, Int32(a.columns), b.elements,
        Int32(b.columns), 0, $0.baseAddress!, Int32(columns))
    }
    return out
  }

  /// Singular values in falling order, with the left and right vectors as columns: self = left · diagonal · rightᵀ, for
  /// the smaller of rows and columns. nil where the matrix is not finite.
  ///
  /// - Cost: some 20 products of the matrix with itself (LAPACK's dgesdd).
  public func singularValues() -> (left: DoubleMatrix, values: [Double], right: DoubleMatrix)? {
    // By columns, as LAPACK reads, this matrix is its transpose: the vectors of one side are those of the other.
    let count = min(rows, columns)
    guard count > 0, elements.allSatisfy(\.isFinite) else { return nil }
    var (a, values) = (elements, [Double](repeating: 0, count: count))
    var u = [Double](repeating: 0, count: columns * count)
    var vt = [Double](repeating: 0, count: count * rows)
    var integers = [Int32](repeating: 0, count: 8 * count)
    var (m, n, ldvt, info) = (Int32(columns), Int32(rows), Int32(count), Int32(0))
    var (size, best) = (Int32(-1), 0.0)
    dgesdd_("S", &m, &n, &a, &m, &values, &u, &m, &vt, &ldvt, &best, &size, &integers, &info)
    size = Int32(best)
    var work = [Double](repeating: 0, count: Int(size))
    dgesdd_("S", &m, &n, &a, &m, &values, &u, &m, &vt, &ldvt, &work, &size, &integers, &info)
    guard info == 0 else { return nil }
    // u by columns is count×columns by rows, vt by columns is rows×count by rows.
    let right = DoubleMatrix(rows: count, columns: columns, elements: u).transposed
    return (DoubleMatrix(rows: rows, columns: count, elements: vt), values, right)
  }
}

/// The Cholesky factor of a symmetric positive definite matrix G = L Lᵀ.
public struct CholeskyFactor: Sendable {
  /// L, zero above its diagonal.
  public let lower: DoubleMatrix

  /// nil where G is not positive definite.
  ///
  /// - Cost: n³/3 operations.
  public init?(_ matrix: DoubleMatrix) {
    precondition(matrix.rows == matrix.columns, "a factor of \(matrix.rows)×\(matrix.columns)")
    var (a, n, info) = (matrix.elements, Int32(matrix.rows), Int32(0))
    // The upper triangle by columns is the lower one by rows.
    dpotrf_("U", &n, &a, &n, &info)
    guard info == 0, a.allSatisfy(\.isFinite) else { return nil }
    var lower = DoubleMatrix(rows: matrix.rows, columns: matrix.rows, elements: a)
    for row in 0..<lower.rows { for column in row + 1..<max(row + 1, lower.rows) { lower[row, column] = 0 } }
    self.lower = lower
  }

  /// G⁻¹ B, for B: n×k.
  public func solve(_ b: DoubleMatrix) -> DoubleMatrix {
    precondition(b.rows == lower.rows, "a right side of \(b.rows) rows for \(lower.rows)")
    // By columns, B's rows are what LAPACK wants as columns of Bᵀ.
    var columns = b.transposed.elements
    var (n, count, info) = (Int32(lower.rows), Int32(b.columns), Int32(0))
    dpotrs_("U", &n, &count, lower.elements, &n, &columns, &n, &info)
    return DoubleMatrix(rows: b.columns, columns: b.rows, elements: columns).transposed
  }

  /// L⁻ᵀ B, for B: n×k.
  public func solveTransposed(_ b: DoubleMatrix) -> DoubleMatrix {
    precondition(b.rows == lower.rows, "a right side of \(b.rows) rows for \(lower.rows)")
    var out = b
    out.elements.withUnsafeMutableBufferPointer {
      cblas_dtrsm(
        CblasRowMajor, CblasLeft, CblasLower, CblasTrans, CblasNonUnit, Int32(b.rows), Int32(b.columns), 1,
        lower.elements, Int32(lower.rows), $0.baseAddress!, Int32(b.columns))
    }
    return out
  }
}
