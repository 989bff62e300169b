import CBitKernels

/// An M×K gradient rounded to bfloat16 (nearest, ties to even), for the backward products of a binary linear layer whose
/// other operand is ±1, kept as bits. Sums are float32, in a fixed order.
///
/// Legend: M rows, K columns, S outputs.
public struct Bfloat16Gradient {
  private let byRows: UnsafeMutablePointer<UInt32>
  private let byColumns: UnsafeMutablePointer<UInt32>
  /// For each thread: an expanded panel of the bits.
  private let expanded: [UnsafeMutablePointer<UInt32>]
  /// For each thread, where inputs have levels: a panel of them, M×48.
  private let levels: [UnsafeMutablePointer<Float>]
  private let panels: BackwardPanels
  private let capacity: (rows: Int, columns: Int)

  /// Memory for gradients of at most rows×columns, and products with at most `outputs` columns; call `startThreads`
  /// before.
  ///
  /// - Parameter hasLevels: whether binary inputs may be more than signs.
  /// - Cost: 4·M·K bytes and, for each thread, 288·max(M, K), and 192·M more for levels.
  public init(rows: Int, columns: Int, outputs: Int, hasLevels: Bool = false, in arena: inout Arena) {
    capacity = (rows, columns)
    let (paddedRows, paddedColumns) = (padded(rows, to: 8), padded(columns, to: 8))
    byRows = arena.elements(paddedRows * paddedColumns / 2, of: UInt32.self)
    byColumns = arena.elements(paddedRows * paddedColumns / 2, of: UInt32.self)
    var expanded: [UnsafeMutablePointer<UInt32>] = []
    for _ in 0..<threadCount {
      expanded.append(arena.elements(max(paddedRows, paddedColumns) / 2 * panelColumns, of: UInt32.self))
    }
    self.expanded = expanded
    var levels: [UnsafeMutablePointer<Float>] = []
    if hasLevels {
      for _ in 0..<threadCount { levels.append(arena.elements(rows * panelColumns, of: Float.self)) }
    }
    self.levels = levels
    panels = BackwardPanels(rows: rows, columns: columns, outputs: outputs, in: &arena)
  }

  /// Rounds `gradient` (M×K) and adds its column sums to `sums` (K).
  public func round(_ gradient: MatrixView, addingColumnSumsTo sums: FloatView) {
    let (rows, columns) = (gradient.rows, gradient.columns)
    precondition(
      rows <= capacity.rows && columns <= capacity.columns && sums.count == columns,
      "rounding of \(rows)×\(columns)")
    let table = InstructionSet.table.pointee
    parallelPanels(columns, 64) { range, _ in
      table.add_column_sums(
        gradient.base, rows, gradient.stride, range.lowerBound, range.upperBound, sums.base)
      table.bfloat16_columns(
        gradient.base, rows, gradient.stride, range.lowerBound, range.upperBound, byColumns)
    }
    parallelPanels(rows, 32) { range, _ in
      let first = range.lowerBound
      table.bfloat16_rows(
        gradient.base + first * gradient.stride, range.count, columns, gradient.stride,
        byRows + first * ((columns + 1) / 2))
    }
  }

  /// Both backward products of a binary linear layer, from the gradient last rounded, and the straight-through backward
  /// of its binary input.
  ///
  /// - Parameters:
  ///   - gradient: M×K, the gradient last rounded; only its shape is read.
  ///   - weight: K×S signs, scaled by `weightScale`.
  ///   - input: M×S.
  ///   - weightGradient: K×S, added to.
  ///   - dx: M×S, written or added to.
  ///   - shiftGradient: S, added to.
  /// - Returns: the sum for the gradient of the input's step size.
  /// - Cost: 4·M·K·S operations.
  public func products(
    _ gradient: MatrixView, weight: BitView, weightScale: Float, input: BinaryInput,
    weightGradient: MatrixGradient, add: Bool, dx: MatrixView, shiftGradient: FloatView
  ) -> Double {
    checkBackwardShapes(
      gradient, weight: weight, input, weightGradient: weightGradient, dx: dx, shiftGradient: shiftGradient)
    let (rows, columns) = (gradient.rows, gradient.columns)
    let table = InstructionSet.table.pointee
    return panels.run(
      input, add: add, dx: dx, shiftGradient: shiftGradient, rows: columns, weightGradient: weightGradient
    ) { range, worker, tile in
      table.bfloat16_signs(weight.base, columns, weight.words, range.lowerBound, expanded[worker])
      table.bfloat16_product(
        byRows, rows, columns, expanded[worker], weightScale, false, range.count, tile, panelColumns)
    } weightPanel: { range, piece, worker, adds, out, stride in
      switch input {
      case .signs(let signs, _, _):
        table.bfloat16_signs(signs.base, rows, signs.words, range.lowerBound, expanded[worker])
      case .levels(let operand):
        // Integers up to 256 are numbers of bfloat16.
        let tile = MatrixView(
          base: levels[worker], rows: rows, columns: range.count, stride: panelColumns)
        operand[columns: range].writeSerial(factor: 1, into: tile)
        table.bfloat16_right_columns(
          tile.base, rows, panelColumns, 0, range.count, expanded[worker])
      }
      table.bfloat16_product(
        byColumns + piece.lowerBound * ((rows + 1) / 2), piece.count, rows, expanded[worker], input.step,
        adds,
        range.count, out, stride)
    }
  }
}
