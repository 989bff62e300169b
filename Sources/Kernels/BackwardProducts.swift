import CBitKernels

/// What both backward products of a binary linear layer need, whatever the gradient is rounded to: a panel of 48 columns
/// of the result at a time, dX = dY·sign(W) through the straight-through backward of the binary input, and
/// dW += dYᵀ·sign(X).
///
/// Legend: M rows, K columns of the gradient, S columns of the products.
struct BackwardPanels {
  /// For each thread: max(M, K)×48 floats.
  private let tiles: [UnsafeMutablePointer<Float>]
  private let stepSums: UnsafeMutablePointer<Double>
  private let outputs: Int

  /// - Cost: for each thread 192·max(M, K) bytes.
  init(rows: Int, columns: Int, outputs: Int, in arena: inout Arena) {
    self.outputs = outputs
    stepSums = arena.elements(padded(outputs, to: panelColumns) / panelColumns, of: Double.self)
    var tiles: [UnsafeMutablePointer<Float>] = []
    for _ in 0..<threadCount {
      tiles.append(arena.elements(padded(max(rows, columns), to: 8) * panelColumns, of: Float.self))
    }
    self.tiles = tiles
  }

  /// - Parameters:
  ///   - rows: K.
  ///   - inputPanel: writes the columns of the range of dX to rows of 48 floats.
  ///   - weightGradient: K×S, added to.
  ///   - weightPanel: writes the columns of the range of dW to memory with rows of so many floats, or adds to it.
  /// - Returns: Σ sign·g over the binary input's gradient g.
  func run(
    signs: BitView, within: BitView, add: Bool, dx: MatrixView, shiftGradient: FloatView, rows: Int,
    weightGradient: MatrixGradient,
    inputPanel: (_ columns: Range<Int>, _ worker: Int, _ tile: UnsafeMutablePointer<Float>) -> Void,
    weightPanel: (
      _ columns: Range<Int>, _ worker: Int, _ adds: Bool, _ out: UnsafeMutablePointer<Float>, _ stride: Int
    ) -> Void
  ) -> Double {
    precondition(signs.columns <= outputs, "\(signs.columns) columns of products, at most \(outputs)")
    let kernel = InstructionSet.table.pointee.sign_backward!
    let panels = padded(signs.columns, to: panelColumns) / panelColumns
    parallelFor(2 * panels) { index, worker in
      let first = index % panels * panelColumns
      let columns = first..<min(signs.columns, first + panelColumns)
      if index < panels {
        let tile = tiles[worker]
        inputPanel(columns, worker, tile)
        stepSums[index] = kernel(
          tile - first, panelColumns, signs.base, within.base, signs.rows, signs.words, first,
          columns.upperBound,
          add, dx.base, dx.stride, shiftGradient.base)
      } else {
        weightGradient.addBlock(
          row: 0, column: first, rows: rows, columns: columns.count, width: signs.columns,
          through: tiles[worker]
        ) { adds, out, stride in weightPanel(columns, worker, adds, out, stride) }
      }
    }
    return (0..<panels).reduce(0) { $0 + stepSums[$1] }
  }
}

/// Checks the shapes of the two products of an M×K gradient.
func checkBackwardShapes(
  _ gradient: MatrixView, weight: BitView, signs: BitView, within: BitView, weightGradient: MatrixGradient,
  dx: MatrixView, shiftGradient: FloatView
) {
  let (rows, columns, outputs) = (gradient.rows, gradient.columns, weight.columns)
  if case .view(let view) = weightGradient {
    precondition(
      view.rows == columns && view.columns == outputs,
      "a gradient of \(view.rows)×\(view.columns) for \(columns)×\(outputs)")
  }
  precondition(
    weight.rows == columns && signs.rows == rows && signs.columns == outputs && within.rows == rows
      && within.columns == outputs && dx.rows == rows && dx.columns == outputs
      && shiftGradient.count == outputs,
    "backward products of \(rows)×\(columns) by \(weight.rows)×\(outputs)")
}

let panelColumns = Int(BK_PANEL_COLUMNS)

func padded(_ count: Int, to multiple: Int) -> Int { (count + multiple - 1) / multiple * multiple }
