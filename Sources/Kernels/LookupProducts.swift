import CBitKernels

/// Both backward products of a binary linear layer from a rounded gradient by looking up sums of a few gradients
/// (rounded_lookup.h). A table of sums serves all columns, so rows are what the threads share out.
///
/// Legend: M rows, K columns of the gradient, S columns of the products.
struct LookupProducts {
  /// Rows of dW that one thread makes at a time, and of dY·sign(W) before they go through the backward of the signs.
  private static let weightRows = 32
  private static let inputRows = 16
  /// Rows of dX that one thread makes at a time.
  private static let blockRows = Int(BK_BACKWARD_ROWS)

  private let weightIndices: UnsafeMutablePointer<UInt8>
  private let inputIndices: UnsafeMutablePointer<UInt8>
  /// M×S: dY·sign(W), where the input is not signs.
  private let product: UnsafeMutablePointer<Float>
  /// S for each block of rows of dX: the sums of a column, and of a column's part in the step size's gradient.
  private let columnSums: UnsafeMutablePointer<Float>
  private let columnStepSums: UnsafeMutablePointer<Float>
  private let stepSums: UnsafeMutablePointer<Double>
  /// For each thread: what `lookup_product` works in, and a block of dW.
  private let rooms: [UnsafeMutablePointer<UInt64>]
  private let blocks: [UnsafeMutablePointer<Float>]

  /// nil where the instruction set has no such kernels, since they are no faster there.
  ///
  /// - Cost: 4·M·S bytes, which are used for inputs of more than one bit alone, (M + K)·S / 4, and for each thread 160·S.
  init?(rows: Int, columns: Int, outputs: Int, in arena: inout Arena) {
    guard InstructionSet.table.pointee.lookup_product != nil else { return nil }
    weightIndices = arena.elements(bk_lookup_indices(columns, outputs), of: UInt8.self)
    inputIndices = arena.elements(bk_lookup_indices(rows, outputs), of: UInt8.self)
    product = arena.elements(rows * outputs, of: Float.self)
    let blockCount = (rows + Self.blockRows - 1) / Self.blockRows
    columnSums = arena.elements(blockCount * outputs, of: Float.self)
    columnStepSums = arena.elements(blockCount * outputs, of: Float.self)
    stepSums = arena.elements(padded(outputs, to: panelColumns) / panelColumns, of: Double.self)
    var rooms: [UnsafeMutablePointer<UInt64>] = []
    var blocks: [UnsafeMutablePointer<Float>] = []
    for _ in 0..<threadCount {
      rooms.append(arena.words(bk_lookup_room(outputs) / 8))
      blocks.append(arena.elements(Self.weightRows * outputs, of: Float.self))
    }
    self.rooms = rooms
    self.blocks = blocks
  }

  /// - Parameters:
  ///   - byRows: M×K.
  ///   - byColumns: K×M.
  ///   - expanded: for each thread 48·M bytes, and
  ///   - tiles: 48·K floats: for inputs of more than one bit, which cannot be looked up.
  /// - Returns: the sum for the gradient of the input's step size.
  func run(
    _ byRows: RoundedOperand, _ byColumns: RoundedOperand, weight: BitView, weightScale: Float,
    input: BinaryInput, weightGradient: MatrixGradient, add: Bool, dx: MatrixView, shiftGradient: FloatView,
    expanded: [UnsafeMutablePointer<UInt8>], tiles: [UnsafeMutablePointer<Float>]
  ) -> Double {
    let width = input.columns
    index(weight, into: weightIndices)
    let inputBlocks = (byRows.rows + Self.blockRows - 1) / Self.blockRows
    let panels = padded(width, to: panelColumns) / panelColumns
    func panel(_ index: Int) -> Range<Int> {
      index * panelColumns..<min(width, (index + 1) * panelColumns)
    }
    func rows(_ index: Int, of count: Int, each block: Int) -> Range<Int> {
      index * block..<min(count, (index + 1) * block)
    }
    func multiply(_ rows: Range<Int>, into out: UnsafeMutablePointer<Float>, worker: Int) {
      byRows[rows: rows].lookUp(
        weightIndices, columns: width, factor: weightScale, adds: false, into: out, stride: width,
        room: rooms[worker])
    }

    switch input {
    case .signs(let signs, let within, let step):
      index(signs, into: inputIndices)
      let weightBlocks = (byColumns.rows + Self.weightRows - 1) / Self.weightRows
      parallelFor(inputBlocks + weightBlocks) { index, worker in
        let block = blocks[worker]
        guard index < inputBlocks else {
          let rows = rows(index - inputBlocks, of: byColumns.rows, each: Self.weightRows)
          weightGradient.addBlock(
            row: rows.lowerBound, column: 0, rows: rows.count, columns: width, width: width, through: block,
            stride: width
          ) { adds, out, stride in
            byColumns[rows: rows].lookUp(
              inputIndices, columns: width, factor: step, adds: adds, into: out, stride: stride,
              room: rooms[worker])
          }
          return
        }
        let own = rows(index, of: byRows.rows, each: Self.blockRows)
        for first in stride(from: own.lowerBound, to: own.upperBound, by: Self.inputRows) {
          let rows = first..<min(own.upperBound, first + Self.inputRows)
          multiply(rows, into: block, worker: worker)
          InstructionSet.table.pointee.sign_backward_rows(
            block, width, signs.base + first * signs.words, within.base + first * signs.words, rows.count,
            signs.words, width, add, dx.base + first * dx.stride, dx.stride, first == own.lowerBound,
            columnSums + index * width, columnStepSums + index * width)
        }
      }
      parallelFor(panels) { index, _ in
        let columns = panel(index)
        stepSums[index] = InstructionSet.table.pointee.sign_backward_sums(
          columnSums, columnStepSums, inputBlocks, width, columns.lowerBound, columns.upperBound,
          shiftGradient.base)
      }
    case .levels:
      parallelFor(inputBlocks + panels) { index, worker in
        guard index < inputBlocks else {
          let columns = panel(index - inputBlocks)
          weightGradient.addBlock(
            row: 0, column: columns.lowerBound, rows: byColumns.rows, columns: columns.count, width: width,
            through: tiles[worker]
          ) { adds, out, stride in
            byColumns.multiply(
              input, columns: columns, expanded: expanded[worker], adds: adds, into: out, stride: stride)
          }
          return
        }
        let rows = rows(index, of: byRows.rows, each: Self.blockRows)
        multiply(rows, into: product + rows.lowerBound * width, worker: worker)
      }
      parallelFor(panels) { index, _ in
        let columns = panel(index)
        stepSums[index] = input.backward(
          columns, product + columns.lowerBound, stride: width, add: add, dx: dx, shiftGradient: shiftGradient
        )
      }
    }
    return (0..<panels).reduce(0) { $0 + stepSums[$1] }
  }

  private func index(_ bits: BitView, into indices: UnsafeMutablePointer<UInt8>) {
    parallelFor((bits.columns + 31) / 32) { vector, _ in
      InstructionSet.table.pointee.index_bits(bits.base, bits.rows, bits.words, vector, indices)
    }
  }
}
