import CBitKernels

/// Both backward products of a binary linear layer from a rounded gradient by looking up sums of a few gradients
/// (rounded_lookup.h). A table of sums serves all columns, so rows are what the threads share out.
///
/// Legend: M rows, K columns of the gradient, S columns of the products.
struct LookupProducts {
  /// Rows of a product that one thread makes at a time.
  private static let blockRows = 32

  private let weightIndices: UnsafeMutablePointer<UInt8>
  private let inputIndices: UnsafeMutablePointer<UInt8>
  /// M×S: dY·sign(W).
  private let product: UnsafeMutablePointer<Float>
  private let stepSums: UnsafeMutablePointer<Double>
  /// For each thread: what `lookup_product` works in, and a block of dW.
  private let rooms: [UnsafeMutablePointer<UInt64>]
  private let blocks: [UnsafeMutablePointer<Float>]

  /// nil where the instruction set has no such kernels, since they are no faster there.
  ///
  /// - Cost: 4·M·S bytes, (M + K)·S / 4, and for each thread 160·S.
  init?(rows: Int, columns: Int, outputs: Int, in arena: inout Arena) {
    guard InstructionSet.table.pointee.lookup_product != nil else { return nil }
    weightIndices = arena.elements(bk_lookup_indices(columns, outputs), of: UInt8.self)
    inputIndices = arena.elements(bk_lookup_indices(rows, outputs), of: UInt8.self)
    product = arena.elements(rows * outputs, of: Float.self)
    stepSums = arena.elements(padded(outputs, to: panelColumns) / panelColumns, of: Double.self)
    var rooms: [UnsafeMutablePointer<UInt64>] = []
    var blocks: [UnsafeMutablePointer<Float>] = []
    for _ in 0..<threadCount {
      rooms.append(arena.words(bk_lookup_room(outputs) / 8))
      blocks.append(arena.elements(Self.blockRows * outputs, of: Float.self))
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
    if case .signs(let signs, _, _) = input { index(signs, into: inputIndices) }
    let panels = padded(width, to: panelColumns) / panelColumns
    func panel(_ index: Int) -> Range<Int> {
      index * panelColumns..<min(width, (index + 1) * panelColumns)
    }
    let inputBlocks = (byRows.rows + Self.blockRows - 1) / Self.blockRows
    let weightBlocks: Int
    switch input {
    case .signs: weightBlocks = (byColumns.rows + Self.blockRows - 1) / Self.blockRows
    case .levels: weightBlocks = panels
    }
    func block(_ index: Int, of rows: Int) -> Range<Int> {
      index * Self.blockRows..<min(rows, (index + 1) * Self.blockRows)
    }

    parallelFor(inputBlocks + weightBlocks) { index, worker in
      if index < inputBlocks {
        let rows = block(index, of: byRows.rows)
        byRows[rows: rows].lookUp(
          weightIndices, columns: width, factor: weightScale, adds: false,
          into: product + rows.lowerBound * width, stride: width, room: rooms[worker])
        return
      }
      switch input {
      case .signs(_, _, let step):
        let rows = block(index - inputBlocks, of: byColumns.rows)
        weightGradient.addBlock(
          row: rows.lowerBound, column: 0, rows: rows.count, columns: width, width: width,
          through: blocks[worker], stride: width
        ) { adds, out, stride in
          byColumns[rows: rows].lookUp(
            inputIndices, columns: width, factor: step, adds: adds, into: out, stride: stride,
            room: rooms[worker])
        }
      case .levels:
        let columns = panel(index - inputBlocks)
        weightGradient.addBlock(
          row: 0, column: columns.lowerBound, rows: byColumns.rows, columns: columns.count, width: width,
          through: tiles[worker]
        ) { adds, out, stride in
          byColumns.multiply(
            input, columns: columns, expanded: expanded[worker], adds: adds, into: out, stride: stride)
        }
      }
    }
    parallelFor(panels) { index, _ in
      let columns = panel(index)
      stepSums[index] = input.backward(
        columns, product + columns.lowerBound, stride: width, add: add, dx: dx, shiftGradient: shiftGradient)
    }
    return (0..<panels).reduce(0) { $0 + stepSums[$1] }
  }

  private func index(_ bits: BitView, into indices: UnsafeMutablePointer<UInt8>) {
    parallelFor((bits.columns + 31) / 32) { vector, _ in
      InstructionSet.table.pointee.index_bits(bits.base, bits.rows, bits.words, vector, indices)
    }
  }
}
