import CBitKernels

/// Rows of the left operand that one step of a parallel product handles.
private let rowPanel = 96

/// out = scale·(A Bᵀ) + bias for ±1 matrices A (M×K) and B (N×K): each sum is K − 2·popcount(a ⊕ b), exact.
///
/// - Parameters:
///   - bias: N elements added to each row, or nil.
///   - out: M×N.
/// - Cost: M·N·K / 64 word operations, in parallel over rows.
public func xnorProduct(
  _ a: BitView, _ b: InterleavedView, scale: Float, bias: FloatView?, into out: MatrixView
) {
  precondition(
    a.columns == b.columns && out.rows == a.rows && out.columns == b.rows,
    "\(a.rows)×\(a.columns) by \(b.rows)×\(b.columns) transposed into \(out.rows)×\(out.columns)")
  precondition(bias == nil || bias!.count == b.rows, "a bias of \(bias?.count ?? 0) for \(b.rows) outputs")
  let kernel = InstructionSet.table.pointee.xnor_product!
  parallelPanels(a.rows, rowPanel) { range, _ in
    let (left, target) = (a[rows: range], out[rows: range])
    kernel(
      left.base, left.rows, b.base, b.rows, a.words, Int32(a.columns), scale, bias?.base, target.base,
      target.stride)
  }
}

/// The same on the calling thread alone, for use within a parallel loop.
public func xnorProductSerial(_ a: BitView, _ b: InterleavedView, scale: Float, into out: MatrixView) {
  precondition(
    a.columns == b.columns && out.rows == a.rows && out.columns == b.rows,
    "\(a.rows)×\(a.columns) by \(b.rows)×\(b.columns) transposed into \(out.rows)×\(out.columns)")
  InstructionSet.table.pointee.xnor_product(
    a.base, a.rows, b.base, b.rows, a.words, Int32(a.columns), scale, nil, out.base, out.stride)
}

/// out = scale·(A Bᵀ) + rowBias for a 0/1 matrix A (M×K) and a ±1 matrix B (N×K): each sum is
/// 2·popcount(a ∧ b) − popcount(a), exact. On the calling thread alone.
///
/// - Parameter rowBias: M elements, one added to each row, or nil.
public func andProductSerial(
  _ a: BitView, _ b: InterleavedView, scale: Float, rowBias: FloatView?, into out: MatrixView
) {
  precondition(
    a.columns == b.columns && out.rows == a.rows && out.columns == b.rows,
    "\(a.rows)×\(a.columns) by \(b.rows)×\(b.columns) transposed into \(out.rows)×\(out.columns)")
  precondition(
    rowBias == nil || rowBias!.count == a.rows, "a bias of \(rowBias?.count ?? 0) for \(a.rows) rows")
  InstructionSet.table.pointee.and_product(
    a.base, a.rows, b.base, b.rows, a.words, scale, rowBias?.base, out.base, out.stride)
}

/// Packs the signs of x + shift, and whether |x + shift| ≤ step. On the calling thread alone.
///
/// - Parameters:
///   - x: M×K.
///   - shift: K elements, or nil.
///   - signs: M×K; the bit is x + shift ≥ 0.
///   - within: M×K, or nil.
public func packSerial(_ x: MatrixView, shift: FloatView?, step: Float, signs: BitView, within: BitView?) {
  precondition(
    signs.rows == x.rows && signs.columns == x.columns,
    "\(x.rows)×\(x.columns) packed into \(signs.rows)×\(signs.columns)")
  precondition(
    shift == nil || shift!.count == x.columns, "a shift of \(shift?.count ?? 0) for \(x.columns) columns")
  InstructionSet.table.pointee.pack(
    x.base, x.rows, x.columns, x.stride, shift?.base, step, signs.base, within?.base)
}

/// `packSerial` in parallel over rows.
public func pack(_ x: MatrixView, shift: FloatView?, step: Float, signs: BitView, within: BitView?) {
  parallelPanels(x.rows, rowPanel) { range, _ in
    packSerial(
      x[rows: range], shift: shift, step: step, signs: signs[rows: range],
      within: within.map { $0[rows: range] })
  }
}
