/// Memory for panels of products on their way into a sink, for each thread.
public struct ProductPanels {
  private let panels: [UnsafeMutablePointer<Float>]
  private let capacity: Int

  /// For products of `shapes`; call `startThreads` before.
  ///
  /// - Cost: for each thread up to 512 rows of a product.
  public init(_ shapes: [(rows: Int, columns: Int)], in arena: inout Arena) {
    capacity = shapes.map { Self.elements(rows: $0.rows, columns: $0.columns) }.max() ?? 0
    var panels: [UnsafeMutablePointer<Float>] = []
    for _ in 0..<threadCount { panels.append(arena.elements(capacity, of: Float.self)) }
    self.panels = panels
  }

  private static func elements(rows: Int, columns: Int) -> Int {
    min(rows, columns) * min(max(rows, columns), densePanel(max(rows, columns)))
  }

  fileprivate func view(_ worker: Int, rows: Int, columns: Int) -> MatrixView {
    precondition(rows * columns <= capacity, "\(rows)×\(columns) in memory for \(capacity) elements")
    return MatrixView(
      FloatView(base: panels[worker], count: rows * columns), rows: rows, columns: columns)
  }
}

/// Adds A B to a gradient: as `denseProduct`, whose panels a sink gets while they are in the cache.
public func addDenseProduct(
  _ a: Operand, _ b: Operand, to gradient: MatrixGradient, through panels: ProductPanels
) {
  let (rows, columns) = (a.rows, b.columns)
  switch gradient {
  case .view(let view): denseProduct(a, b, accumulate: true, into: view)
  case .blocks(let sink, let start):
    func add(_ a: Operand, _ b: Operand, at first: Int, worker: Int) {
      let panel = panels.view(worker, rows: a.rows, columns: b.columns)
      denseProductSerial(a, b, into: panel)
      sink.add(
        panel.base, valueStride: panel.stride, rows: panel.rows, columns: panel.columns, at: first,
        stride: columns)
    }
    if rows >= columns {
      parallelPanels(rows, densePanel(rows)) { range, worker in
        add(a.rows(range), b, at: start + range.lowerBound * columns, worker: worker)
      }
    } else {
      parallelPanels(columns, densePanel(columns)) { range, worker in
        add(a, b.columns(range), at: start + range.lowerBound, worker: worker)
      }
    }
  }
}
