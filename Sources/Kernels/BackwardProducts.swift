import CBitKernels

/// The binary input of a linear layer in its backward pass: M×S.
public enum BinaryInput {
  /// step·(±1), and where a gradient passes.
  case signs(BitView, within: BitView, step: Float)
  case levels(LevelOperand)

  var rows: Int {
    switch self {
    case .signs(let signs, _, _): signs.rows
    case .levels(let operand): operand.x.rows
    }
  }
  var columns: Int {
    switch self {
    case .signs(let signs, _, _): signs.columns
    case .levels(let operand): operand.x.columns
    }
  }
  var step: Float {
    switch self {
    case .signs(_, _, let step): step
    case .levels(let operand): operand.step
    }
  }

  /// The straight-through backward of some columns.
  ///
  /// - Parameter tile: the gradient of those columns, in rows of `stride` floats.
  func backward(
    _ columns: Range<Int>, _ tile: UnsafeMutablePointer<Float>, stride: Int = panelColumns, add: Bool,
    dx: MatrixView, shiftGradient: FloatView
  ) -> Double {
    switch self {
    case .signs(let signs, let within, _):
      InstructionSet.table.pointee.sign_backward(
        tile - columns.lowerBound, stride, signs.base, within.base, signs.rows, signs.words,
        columns.lowerBound, columns.upperBound, add, dx.base, dx.stride, shiftGradient.base)
    case .levels(let operand):
      operand[columns: columns].backwardSerial(
        MatrixView(base: tile, rows: rows, columns: columns.count, stride: stride), add: add,
        dx: dx[columns: columns], shiftGradient: shiftGradient[columns])
    }
  }
}

/// What both backward products of a binary linear layer need, whatever the gradient is rounded to: a panel of 48 columns
/// of the result at a time, dX = dY·sign(W) through the straight-through backward of the binary input, and
/// dW += dYᵀ·X.
///
/// Legend: M rows, K columns of the gradient, S columns of the products.
struct BackwardPanels {
  /// Rows of dW that one thread makes at a time where beginning costs little: the last pieces of the loop are small, so that all
  /// threads end together.
  private static let weightRows = 256

  /// For each thread: max(M, K)×48 floats.
  let tiles: [UnsafeMutablePointer<Float>]
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
  ///   - weightPanel: writes the columns and rows of the ranges of dW to memory with rows of so many floats, or adds to it.
  /// - Returns: the sum for the gradient of the input's step size.
  func run(
    _ input: BinaryInput, add: Bool, dx: MatrixView, shiftGradient: FloatView, rows: Int,
    weightGradient: MatrixGradient,
    inputPanel: (_ columns: Range<Int>, _ worker: Int, _ tile: UnsafeMutablePointer<Float>) -> Void,
    weightPanel: (
      _ columns: Range<Int>, _ rows: Range<Int>, _ worker: Int, _ adds: Bool,
      _ out: UnsafeMutablePointer<Float>, _ stride: Int
    ) -> Void
  ) -> Double {
    precondition(input.columns <= outputs, "\(input.columns) columns of products, at most \(outputs)")
    let panels = padded(input.columns, to: panelColumns) / panelColumns
    let pieceRows: Int
    switch input {
    case .signs: pieceRows = Self.weightRows
    case .levels: pieceRows = rows  // each piece would quantise the input anew
    }
    let pieces = (rows + pieceRows - 1) / pieceRows
    parallelFor((1 + pieces) * panels) { index, worker in
      let first = index % panels * panelColumns
      let columns = first..<min(input.columns, first + panelColumns)
      if index < panels {
        let tile = tiles[worker]
        inputPanel(columns, worker, tile)
        stepSums[index] = input.backward(columns, tile, add: add, dx: dx, shiftGradient: shiftGradient)
      } else {
        let start = (index / panels - 1) * pieceRows
        let piece = start..<min(rows, start + pieceRows)
        weightGradient.addBlock(
          row: start, column: first, rows: piece.count, columns: columns.count, width: input.columns,
          through: tiles[worker]
        ) { adds, out, stride in weightPanel(columns, piece, worker, adds, out, stride) }
      }
    }
    return (0..<panels).reduce(0) { $0 + stepSums[$1] }
  }
}

/// Checks the shapes of the two products of an M×K gradient.
func checkBackwardShapes(
  _ gradient: MatrixView, weight: BitView, _ input: BinaryInput, weightGradient: MatrixGradient,
  dx: MatrixView, shiftGradient: FloatView
) {
  let (rows, columns, outputs) = (gradient.rows, gradient.columns, weight.columns)
  if case .view(let view) = weightGradient {
    precondition(
      view.rows == columns && view.columns == outputs,
      "a gradient of \(view.rows)×\(view.columns) for \(columns)×\(outputs)")
  }
  precondition(
    weight.rows == columns && input.rows == rows && input.columns == outputs && dx.rows == rows
      && dx.columns == outputs
      && shiftGradient.count == outputs,
    "backward products of \(rows)×\(columns) by \(weight.rows)×\(outputs)")
  if case .signs(let signs, let within, _) = input {
    precondition(
      within.rows == signs.rows && within.columns == signs.columns, "bits of \(within.rows)×\(within.columns)"
    )
  }
}

let panelColumns = Int(BK_PANEL_COLUMNS)

func padded(_ count: Int, to multiple: Int) -> Int { (count + multiple - 1) / multiple * multiple }
