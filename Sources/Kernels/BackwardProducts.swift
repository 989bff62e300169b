import CBitKernels

/// What both backward products of a binary linear layer need, whatever the gradient is rounded to: a panel of 48 columns
/// of the result at a time, dX = dY·sign(W) through the straight-through backward of the binary input, and
/// dW += dYᵀ·sign(X).
///
/// Legend: M rows, K columns of the gradient, S columns of the products.
struct BackwardPanels {
  /// For each thread: M×48 floats.
  private let tiles: [UnsafeMutablePointer<Float>]
  private let stepSums: UnsafeMutablePointer<Double>
  private let outputs: Int

  /// - Cost: for each thread 192·M bytes.
  init(rows: Int, outputs: Int, in arena: inout Arena) {
    self.outputs = outputs
    stepSums = arena.elements(padded(outputs, to: panelColumns) / panelColumns, of: Double.self)
    var tiles: [UnsafeMutablePointer<Float>] = []
    for _ in 0..<threadCount {
      tiles.append(arena.elements(padded(rows, to: 8) * panelColumns, of: Float.self))
    }
    self.tiles = tiles
  }

  /// - Parameters:
  ///   - inputPanel: writes the columns of the range of dX to rows of 48 floats.
  ///   - weightPanel: adds to the columns of the range of dW.
  /// - Returns: Σ sign·g over the binary input's gradient g.
  func run(
    signs: BitView, within: BitView, add: Bool, dx: MatrixView, shiftGradient: FloatView,
    inputPanel: (_ columns: Range<Int>, _ worker: Int, _ tile: UnsafeMutablePointer<Float>) -> Void,
    weightPanel: (_ columns: Range<Int>, _ worker: Int) -> Void
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
        weightPanel(columns, worker)
      }
    }
    return (0..<panels).reduce(0) { $0 + stepSums[$1] }
  }
}

/// Checks the shapes of the two products of an M×K gradient.
func checkBackwardShapes(
  _ gradient: MatrixView, weight: BitView, signs: BitView, within: BitView, weightGradient: MatrixView,
  dx: MatrixView, shiftGradient: FloatView
) {
  let (rows, columns, outputs) = (gradient.rows, gradient.columns, weight.columns)
  precondition(
    weight.rows == columns && signs.rows == rows && signs.columns == outputs && within.rows == rows
      && within.columns == outputs && weightGradient.rows == columns && weightGradient.columns == outputs
      && dx.rows == rows && dx.columns == outputs && shiftGradient.count == outputs,
    "backward products of \(rows)×\(columns) by \(weight.rows)×\(outputs)")
}

let panelColumns = Int(BK_PANEL_COLUMNS)

func padded(_ count: Int, to multiple: Int) -> Int { (count + multiple - 1) / multiple * multiple }
