/// Takes the gradient of a matrix block by block, as it is made.
public protocol GradientSink: AnyObject {
  /// Adds `rows` rows of `columns` values, `valueStride` apart, to the elements of the flat vector from `start` on, whose rows are
  /// `stride` apart; the values become 0. On any thread; of blocks that share no element, until `note`, and make up a whole matrix,
  /// unless `beginPart` came before.
  func add(
    _ values: UnsafeMutablePointer<Float>, valueStride: Int, rows: Int, columns: Int, at start: Int,
    stride: Int)

  /// Of the matrix in the elements `range` only some blocks may follow.
  func beginPart(of range: Range<Int>)

  /// What was added since the last time is one part of the gradient: what follows may add to the same elements.
  func note()
}

/// Takes gradients block by block that are not kept in float32.
public struct GradientSinks {
  /// Those of the binary matrices, if any.
  public let matrices: (any GradientSink)?
  /// That of the word embedding, if any.
  public let words: (any GradientSink)?

  public init(matrices: (any GradientSink)? = nil, words: (any GradientSink)? = nil) {
    self.matrices = matrices
    self.words = words
  }
}

/// Where the gradient of a matrix goes.
public enum MatrixGradient {
  /// It is added to these elements.
  case view(MatrixView)
  /// Each block of it goes to the sink as soon as it is made; its rows lie one after the other from the element `start` on.
  case blocks(any GradientSink, start: Int)
}

extension MatrixGradient {
  /// Adds a block that `make` writes to memory with rows of so many floats, or adds to it. On any thread; of blocks that share no
  /// element.
  ///
  /// - Parameters:
  ///   - width: columns of the matrix.
  ///   - memory: of `rows` rows, `stride` floats apart.
  func addBlock(
    row: Int, column: Int, rows: Int, columns: Int, width: Int, through memory: UnsafeMutablePointer<Float>,
    stride: Int = panelColumns,
    make: (_ adds: Bool, _ out: UnsafeMutablePointer<Float>, _ stride: Int) -> Void
  ) {
    switch self {
    case .view(let view): make(true, view.base + row * view.stride + column, view.stride)
    case .blocks(let sink, let start):
      make(false, memory, stride)
      sink.add(
        memory, valueStride: stride, rows: rows, columns: columns, at: start + row * width + column,
        stride: width)
    }
  }

  func checkShape(rows: Int, columns: Int) {
    if case .view(let view) = self {
      precondition(
        view.rows == rows && view.columns == columns,
        "a gradient of \(rows)×\(columns) for \(view.rows)×\(view.columns)")
    }
  }

  /// Tells the sink, if there is one, that this matrix may follow once more.
  public func note() {
    if case .blocks(let sink, _) = self { sink.note() }
  }
}
