import CBitKernels

/// The N×K weight of a linear layer rounded to bfloat16 (nearest, ties to even) and packed once for
/// `bfloat16Product`; an `Arena` keeps it alive, and copying it copies no data.
///
/// Fastest with AVX-512 BF16 on AMD's processors; every instruction set gives the same bits, but for
/// numbers below the smallest normal one.
public struct Bfloat16Matrix {
  public let rows: Int
  public let columns: Int
  private let base: UnsafeMutablePointer<UInt32>

  /// - Cost: one allocation of 2 bytes an element, with N padded to a multiple of 48.
  public init(rows: Int, columns: Int, in arena: inout Arena) {
    precondition(rows >= 0 && columns >= 0, "a bfloat16 matrix of \(rows)×\(columns)")
    self.rows = rows
    self.columns = columns
    base = arena.elements(padded(rows, to: panelColumns) * pairs(columns), of: UInt32.self)
  }

  /// Rounds and packs `weight` (N×K).
  ///
  /// - Cost: one pass over the weight, in parallel.
  public func pack(_ weight: MatrixView) {
    precondition(
      weight.rows == rows && weight.columns == columns,
      "a weight of \(weight.rows)×\(weight.columns) packed as \(rows)×\(columns)")
    let kernel = InstructionSet.table.pointee.bfloat16_right!
    parallelPanels(rows, panelColumns) { range, _ in
      kernel(
        weight.base + range.lowerBound * weight.stride, range.count, columns, weight.stride,
        self[range.lowerBound])
    }
  }

  /// What is packed of the rows from `row`, a multiple of the panel.
  fileprivate subscript(row: Int) -> UnsafeMutablePointer<UInt32> { base + row * pairs(columns) }
}

/// out = X Wᵀ + bias for X: M×K, rounded to bfloat16 on the way, and W: N×K; sums and the result are float32.
///
/// - Parameters:
///   - bias: N elements added to each row, or nil.
///   - out: M×N.
/// - Cost: 2·M·N·K operations, in parallel over blocks of 64×768 of the result; no allocation.
public func bfloat16Product(_ x: MatrixView, _ w: Bfloat16Matrix, bias: FloatView?, into out: MatrixView) {
  precondition(
    x.columns == w.columns && out.rows == x.rows && out.columns == w.rows,
    "\(x.rows)×\(x.columns) by \(w.rows)×\(w.columns) transposed into \(out.rows)×\(out.columns)")
  precondition(bias == nil || bias!.count == w.rows, "a bias of \(bias?.count ?? 0) for \(w.rows) outputs")
  let kernel = InstructionSet.table.pointee.bfloat16_linear!
  let (blockRows, blockColumns) = (64, 16 * panelColumns)
  let columnBlocks = (w.rows + blockColumns - 1) / blockColumns
  parallelFor((x.rows + blockRows - 1) / blockRows * columnBlocks) { index, _ in
    let row = index / columnBlocks * blockRows
    let column = index % columnBlocks * blockColumns
    kernel(
      x.base + row * x.stride, min(blockRows, x.rows - row), x.columns, x.stride, w[column],
      min(blockColumns, w.rows - column), bias.map { $0.base + column },
      out.base + row * out.stride + column, out.stride)
  }
}

private func pairs(_ count: Int) -> Int { (count + 1) / 2 }
