import CBitKernels

// Float32 products whose sums have one order, with every instruction set and for any number of rows: those that a packed
// model computes (BinaryInference). DenseProducts.swift is for training's steps.

/// out = x Wᵀ + bias: lane k % 16 sums its products in order, then the lanes are added as a tree.
///
/// - Parameters:
///   - x: N×I.
///   - w: O×I, dense.
///   - bias: O, or nil.
///   - out: N×O.
/// - Cost: 2·N·I·O operations, shared by the threads.
public func fixedOrderLinear(_ x: MatrixView, _ w: MatrixView, bias: FloatView?, into out: MatrixView) {
  precondition(
    x.columns == w.columns && out.rows == x.rows && out.columns == w.rows && w.stride == w.columns
      && (bias.map { $0.count == w.rows } ?? true),
    "\(x.rows)×\(x.columns) by \(w.rows)×\(w.columns) into \(out.rows)×\(out.columns)")
  let linear = InstructionSet.table.pointee.linear
  // Rows of W are read once for all of x, so panels are of them, unless they are few.
  if w.rows >= x.rows {
    parallelPanels(w.rows, 64) { own, _ in
      linear!(
        x.base, x.rows, x.columns, x.stride, w.base + own.lowerBound * w.stride, own.count,
        bias.map { UnsafePointer($0.base + own.lowerBound) }, out.base + own.lowerBound, out.stride)
    }
  } else {
    parallelPanels(x.rows, 64) { own, _ in
      linear!(
        x.base + own.lowerBound * x.stride, own.count, x.columns, x.stride, w.base, w.rows,
        bias.map { UnsafePointer($0.base) }, out.base + own.lowerBound * out.stride, out.stride)
    }
  }
}

/// out = aᵀ b, or added to out, each sum in the order of the rows; on the calling thread alone.
///
/// - Parameters:
///   - a: K×M.
///   - b: K×N.
///   - out: M×N.
public func fixedOrderTransposedProductSerial(
  _ a: MatrixView, _ b: MatrixView, accumulate: Bool = false, into out: MatrixView
) {
  precondition(
    a.rows == b.rows && out.rows == a.columns && out.columns == b.columns,
    "\(a.rows)×\(a.columns) transposed by \(b.rows)×\(b.columns) into \(out.rows)×\(out.columns)")
  InstructionSet.table.pointee.transposed_product(
    a.base, a.stride, b.base, b.stride, a.rows, a.columns, b.columns, accumulate, out.base, out.stride)
}
