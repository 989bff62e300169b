import CBitKernels

// Small operations within a parallel loop, on the calling thread alone.

extension FloatView {
  /// self += x.
  public func addSerial(_ x: FloatView) {
    precondition(x.count == count, "\(x.count) elements added to \(count)")
    InstructionSet.table.pointee.add(x.base, count, base)
  }
}

extension MatrixView {
  /// Adds `values` (one a row) to every column.
  public func addToColumns(_ values: FloatView) {
    precondition(values.count == rows, "\(values.count) values for \(rows) rows")
    for row in 0..<rows {
      let (start, value) = (base + row * stride, values.base[row])
      for column in 0..<columns { start[column] += value }
    }
  }

  /// sums[row] += the sum of that row, in the order of the columns.
  public func addRowSums(to sums: FloatView) {
    precondition(sums.count == rows, "\(sums.count) sums for \(rows) rows")
    for row in 0..<rows {
      sums.base[row] += Float(InstructionSet.table.pointee.sum(base + row * stride, columns))
    }
  }
}

extension BitView {
  /// out[row] = factor · Σ of the elements of `values` (one a column) whose bit is set in that row, in 16 lanes.
  public func sumSetElements(of values: FloatView, factor: Float, into out: FloatView) {
    precondition(
      values.count == columns && out.count == rows, "\(rows)×\(columns) bits over \(values.count) values")
    InstructionSet.table.pointee.sum_set_elements(base, rows, columns, values.base, factor, out.base)
  }
}
