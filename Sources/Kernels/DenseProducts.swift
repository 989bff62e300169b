import CBitKernels

/// Whether an operand of a dense product is used as it is or transposed.
public enum Operand {
  case plain(MatrixView)
  case transposed(MatrixView)

  var matrix: MatrixView {
    switch self {
    case .plain(let m), .transposed(let m): m
    }
  }
  var rows: Int {
    switch self {
    case .plain(let m): m.rows
    case .transposed(let m): m.columns
    }
  }
  var columns: Int {
    switch self {
    case .plain(let m): m.columns
    case .transposed(let m): m.rows
    }
  }
  func rows(_ range: Range<Int>) -> Operand {
    switch self {
    case .plain(let m): .plain(m[rows: range])
    case .transposed(let m): .transposed(m[columns: range])
    }
  }
  func columns(_ range: Range<Int>) -> Operand {
    switch self {
    case .plain(let m): .plain(m[columns: range])
    case .transposed(let m): .transposed(m[rows: range])
    }
  }
  /// Floats from one row to the next, and from one column to the next.
  var strides: (row: Int, column: Int) {
    switch self {
    case .plain(let m): (m.stride, 1)
    case .transposed(let m): (1, m.stride)
    }
  }
}

/// Rows or columns of a side of the result that a thread computes at a time: few enough to share a layer's width out, many enough where the side is a vocabulary.
func densePanel(_ side: Int) -> Int { side < 4096 ? 192 : 512 }

/// out = A (factor·B), or added to out, in float32 on the calling thread alone. Each sum takes its products in the order of the summed
/// dimension, fused, so its bits depend on nothing but the operands.
///
/// - Cost: 2·M·N·K operations for A M×K and B K×N.
public func denseProductSerial(
  _ a: Operand, _ b: Operand, factor: Float = 1, accumulate: Bool = false, into out: MatrixView
) {
  precondition(
    a.columns == b.rows && out.rows == a.rows && out.columns == b.columns,
    "\(a.rows)×\(a.columns) by \(b.rows)×\(b.columns) into \(out.rows)×\(out.columns)")
  guard out.rows > 0 && out.columns > 0 else { return }
  let (left, right) = (a.strides, b.strides)
  InstructionSet.table.pointee.float_product(
    a.matrix.base, left.row, left.column, b.matrix.base, right.row, right.column, out.rows, a.columns,
    out.columns, factor, accumulate, out.base, out.stride)
}

/// `denseProductSerial` in parallel over fixed panels of the longer side of the result.
public func denseProduct(
  _ a: Operand, _ b: Operand, factor: Float = 1, accumulate: Bool = false, into out: MatrixView
) {
  if out.rows >= out.columns {
    parallelPanels(out.rows, densePanel(out.rows)) { range, _ in
      denseProductSerial(a.rows(range), b, factor: factor, accumulate: accumulate, into: out[rows: range])
    }
  } else {
    parallelPanels(out.columns, densePanel(out.columns)) { range, _ in
      denseProductSerial(
        a, b.columns(range), factor: factor, accumulate: accumulate, into: out[columns: range])
    }
  }
}
