import CBitKernels

/// Which numbers a rounding draws: a pure function of the run's seed, the epoch, the micro-batch and the place in the
/// network, so that a gradient's bits do not depend on who computes it.
public struct BackwardRounding: Sendable {
  private let key: (UInt32, UInt32)

  public init(seed: UInt64) { key = CounterRandom(seed: seed, purpose: .backwardRounding).key }

  /// The draw at one place (below 2¹⁶) of the network for the micro-batch whose first sample is `sample`.
  public func draw(place: Int, epoch: UInt32, sample: UInt64) -> Draw {
    Draw(key: key, counter: CounterRandom.counter(place: place, epoch: epoch, sample: sample))
  }

  public struct Draw: Sendable {
    let key: (UInt32, UInt32)
    let counter: (UInt32, UInt32, UInt32)
  }
}

/// An M×K gradient rounded to 8 bits twice: with a scale for each row, for products over the columns, and with a scale
/// for each column, for products over the rows. Rounding is up or down at random, so that its mean is the value.
///
/// The other operand of both products is ±1, kept as bits; their sums are exact integers.
///
/// Legend: M rows, K columns, S outputs.
public struct RoundedGradient {
  private let byRows: UnsafeMutablePointer<Int8>
  private let byColumns: UnsafeMutablePointer<Int8>
  private let rowMaxima: UnsafeMutablePointer<Float>
  private let columnMaxima: UnsafeMutablePointer<Float>
  private let rowSums: UnsafeMutablePointer<Int32>
  private let columnSums: UnsafeMutablePointer<Int32>
  /// For each thread: an expanded panel of the bits.
  private let expanded: [UnsafeMutablePointer<UInt8>]
  private let panels: BackwardPanels
  /// With instruction sets for which looking sums up is faster.
  private let lookups: LookupProducts?
  private let capacity: (rows: Int, columns: Int)

  /// Memory for gradients of at most rows×columns, and products with at most `outputs` columns; call `startThreads`
  /// before.
  ///
  /// - Cost: 2·M·K bytes and, for each thread, 240·max(M, K); besides what `LookupProducts` takes.
  public init(rows: Int, columns: Int, outputs: Int, in arena: inout Arena) {
    capacity = (rows, columns)
    let (paddedRows, paddedColumns) = (padded(rows, to: 8), padded(columns, to: 8))
    byRows = arena.elements(paddedRows * paddedColumns, of: Int8.self)
    byColumns = arena.elements(paddedRows * paddedColumns, of: Int8.self)
    rowMaxima = arena.elements(paddedRows, of: Float.self)
    columnMaxima = arena.elements(paddedColumns, of: Float.self)
    rowSums = arena.elements(paddedRows, of: Int32.self)
    columnSums = arena.elements(paddedColumns, of: Int32.self)
    var expanded: [UnsafeMutablePointer<UInt8>] = []
    for _ in 0..<threadCount {
      expanded.append(arena.elements(max(paddedRows, paddedColumns) * panelColumns, of: UInt8.self))
    }
    self.expanded = expanded
    panels = BackwardPanels(rows: rows, columns: columns, outputs: outputs, in: &arena)
    lookups = LookupProducts(rows: rows, columns: columns, outputs: outputs, in: &arena)
  }

  /// Rounds `gradient` (M×K) and adds its column sums to `columnSums` (K).
  public func round(_ gradient: MatrixView, draw: BackwardRounding.Draw, addingColumnSumsTo sums: FloatView) {
    let (rows, columns) = (gradient.rows, gradient.columns)
    precondition(
      rows <= capacity.rows && columns <= capacity.columns && sums.count == columns,
      "rounding of \(rows)×\(columns)")
    let table = InstructionSet.table.pointee
    parallelPanels(columns, 64) { range, _ in
      table.column_maxima_and_sums(
        gradient.base, rows, gradient.stride, range.lowerBound, range.upperBound, columnMaxima, sums.base)
    }
    parallelPanels(rows, 32) { range, _ in
      let first = range.lowerBound
      table.row_maxima(
        gradient.base + first * gradient.stride, range.count, columns, gradient.stride, rowMaxima + first)
      withUnsafeBytes(of: draw.key) { key in
        withUnsafeBytes(of: draw.counter) { counter in
          table.round_panels(
            gradient.base, rows, columns, gradient.stride, first, range.upperBound,
            key.assumingMemoryBound(to: UInt32.self).baseAddress,
            counter.assumingMemoryBound(to: UInt32.self).baseAddress, rowMaxima, columnMaxima, byRows,
            byColumns)
        }
      }
    }
    let (rowPanels, columnPanels) = (padded(rows, to: 8) / 8, padded(columns, to: 8) / 8)
    let (rowGroups, columnGroups) = (groups(columns), groups(rows))
    parallelPanels(rowPanels + columnPanels, 16) { range, _ in
      for panel in range {
        if panel < rowPanels {
          table.panel_sums(byRows + panel * 32 * rowGroups, rowGroups, rowSums + panel * 8)
        } else {
          let panel = panel - rowPanels
          table.panel_sums(byColumns + panel * 32 * columnGroups, columnGroups, columnSums + panel * 8)
        }
      }
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
  /// - Cost: 4·M·K·S operations on bytes.
  public func products(
    _ gradient: MatrixView, weight: BitView, weightScale: Float, input: BinaryInput,
    weightGradient: MatrixGradient, add: Bool, dx: MatrixView, shiftGradient: FloatView
  ) -> Double {
    checkBackwardShapes(
      gradient, weight: weight, input, weightGradient: weightGradient, dx: dx, shiftGradient: shiftGradient)
    let (rows, columns) = (gradient.rows, gradient.columns)
    let left = RoundedOperand(base: byRows, rows: rows, depth: columns, sums: rowSums, maxima: rowMaxima)
    let transposed = RoundedOperand(
      base: byColumns, rows: columns, depth: rows, sums: columnSums, maxima: columnMaxima)
    if let lookups {
      return lookups.run(
        left, transposed, weight: weight, weightScale: weightScale, input: input,
        weightGradient: weightGradient, add: add, dx: dx, shiftGradient: shiftGradient, expanded: expanded,
        tiles: panels.tiles)
    }
    return panels.run(
      input, add: add, dx: dx, shiftGradient: shiftGradient, rows: columns, weightGradient: weightGradient
    ) { range, worker, tile in
      left.multiply(
        weight, columns: range, factor: weightScale, expanded: expanded[worker], adds: false, into: tile,
        stride: panelColumns)
    } weightPanel: { range, piece, worker, adds, out, stride in
      transposed[rows: piece].multiply(
        input, columns: range, expanded: expanded[worker], adds: adds, into: out, stride: stride)
    }
  }
}

/// Groups of four along the summed dimension.
private func groups(_ depth: Int) -> Int { (depth + 3) / 4 }
