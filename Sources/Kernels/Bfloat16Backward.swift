import CBitKernels

/// Backward of a linear layer y = x Wᵀ whose operands are rounded to bfloat16 (nearest, ties to even), with float32 sums in a
/// fixed order: dX = dY W and dW += dYᵀ X. For a wide layer with few rows, as a decoder onto a vocabulary.
///
/// Legend: M rows, V outputs, H inputs.
public struct Bfloat16Backward {
  /// Rows of W that one sum takes before it adds to the result, and rows of dW that one thread makes at a time.
  private static let depth = 1536
  private static let blockRows = 256

  /// dY, once by rows and then by columns.
  private let gradient: UnsafeMutablePointer<UInt32>
  /// x, a panel of 48 columns after the other.
  private let input: UnsafeMutablePointer<UInt32>
  /// For each thread: a panel of W, and a block of dW.
  private let weight: [UnsafeMutablePointer<UInt32>]
  private let blocks: [UnsafeMutablePointer<Float>]
  private let capacity: (rows: Int, outputs: Int, inputs: Int)

  /// Memory for at most rows×outputs gradients and `inputs` inputs; call `startThreads` before.
  ///
  /// - Cost: 2·M·V + 2·M·H bytes, and 195 KiB for each thread.
  public init(rows: Int, outputs: Int, inputs: Int, in arena: inout Arena) {
    capacity = (rows, outputs, inputs)
    let pairs = padded(outputs, to: 8) / 2 * padded(rows, to: 8)
    gradient = arena.elements(pairs, of: UInt32.self)
    input = arena.elements(padded(inputs, to: panelColumns) * ((rows + 1) / 2), of: UInt32.self)
    var weight: [UnsafeMutablePointer<UInt32>] = []
    var blocks: [UnsafeMutablePointer<Float>] = []
    for _ in 0..<threadCount {
      weight.append(arena.elements(Self.depth / 2 * panelColumns, of: UInt32.self))
      blocks.append(arena.elements(Self.blockRows * panelColumns, of: Float.self))
    }
    self.weight = weight
    self.blocks = blocks
  }

  /// - Parameters:
  ///   - dy: M×V.
  ///   - x: M×H.
  ///   - w: V×H.
  ///   - dw: V×H, added to.
  ///   - dx: M×H, written.
  /// - Cost: 4·M·V·H operations, in parallel; one pass over w and two over dw.
  public func run(_ dy: MatrixView, x: MatrixView, w: MatrixView, dw: MatrixGradient, dx: MatrixView) {
    precondition(
      x.rows == dy.rows && w.rows == dy.columns && w.columns == x.columns && dx.rows == x.rows
        && dx.columns == x.columns,
      "backward of \(dy.rows)×\(dy.columns) by \(w.rows)×\(w.columns)")
    dw.checkShape(rows: w.rows, columns: w.columns)
    precondition(
      dy.rows <= capacity.rows && dy.columns <= capacity.outputs && x.columns <= capacity.inputs,
      "backward of \(dy.rows)×\(dy.columns) with memory for \(capacity)")
    inputGradient(dy, w: w, into: dx)
    weightGradient(dy, x: x, addingTo: dw)
  }

  /// dX = dY W, in sums over `depth` rows of W, one after the other.
  private func inputGradient(_ dy: MatrixView, w: MatrixView, into dx: MatrixView) {
    let table = InstructionSet.table.pointee
    let (rows, depth) = (dy.rows, Self.depth)
    // dY by rows, a block of columns after the other.
    let stride = padded(rows, to: 8) * depth / 2
    parallelPanels(dy.columns, depth) { range, _ in
      table.bfloat16_rows(
        dy.base + range.lowerBound, rows, range.count, dy.stride, gradient + range.lowerBound / depth * stride
      )
    }
    parallelPanels(dx.columns, panelColumns) { columns, worker in
      let panel = weight[worker]
      for start in Swift.stride(from: 0, to: w.rows, by: depth) {
        let count = min(depth, w.rows - start)
        table.bfloat16_right_columns(
          w.base + start * w.stride, count, w.stride, columns.lowerBound, columns.upperBound, panel)
        table.bfloat16_product(
          gradient + start / depth * stride, rows, count, panel, 1, start > 0, columns.count,
          dx.base + columns.lowerBound, dx.stride)
      }
    }
  }

  /// dW += dYᵀ X.
  private func weightGradient(_ dy: MatrixView, x: MatrixView, addingTo dw: MatrixGradient) {
    let table = InstructionSet.table.pointee
    let rows = dy.rows
    let pairs = (rows + 1) / 2
    parallelPanels(x.columns, panelColumns) { columns, _ in
      table.bfloat16_right_columns(
        x.base, rows, x.stride, columns.lowerBound, columns.upperBound, input + columns.lowerBound * pairs)
    }
    parallelPanels(dy.columns, Self.blockRows) { range, worker in
      table.bfloat16_columns(dy.base, rows, dy.stride, range.lowerBound, range.upperBound, gradient)
      let left = gradient + range.lowerBound * pairs
      for first in Swift.stride(from: 0, to: x.columns, by: panelColumns) {
        let columns = min(panelColumns, x.columns - first)
        dw.addBlock(
          row: range.lowerBound, column: first, rows: range.count, columns: columns, width: x.columns,
          through: blocks[worker]
        ) { adds, out, stride in
          table.bfloat16_product(
            left, range.count, rows, input + first * pairs, 1, adds, columns, out, stride)
        }
      }
    }
  }
}
