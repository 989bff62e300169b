import Kernels
import LeastSquares

extension MatrixView {
  /// In float64, with a column of ones behind the others where asked.
  func doubles(withOnes: Bool) -> DoubleMatrix {
    var out = DoubleMatrix(rows: rows, columns: columns + (withOnes ? 1 : 0))
    for row in 0..<rows {
      let own = base + row * stride
      for column in 0..<columns { out[row, column] = Double(own[column]) }
      if withOnes { out[row, columns] = 1 }
    }
    return out
  }
}

extension DoubleMatrix {
  /// Each column less its mean.
  func lessColumnMeans() -> DoubleMatrix {
    var out = self
    for column in 0..<columns {
      let mean = (0..<rows).reduce(0) { $0 + self[$1, column] } / Double(max(1, rows))
      for row in 0..<rows { out[row, column] -= mean }
    }
    return out
  }

  /// Each row less its mean.
  func lessRowMeans() -> DoubleMatrix {
    var out = self
    for row in 0..<rows {
      let mean = (0..<columns).reduce(0) { $0 + self[row, $1] } / Double(max(1, columns))
      for column in 0..<columns { out[row, column] -= mean }
    }
    return out
  }
}
