/// Takes the gradient of a matrix block by block, as it is made.
public protocol GradientSink: AnyObject {
  /// Adds `rows` rows of `columns` values, `valueStride` apart, to the elements of the flat vector from `start` on, whose rows are
  /// `stride` apart; the values become 0. On any thread; of blocks that share no element.
  func add(
    _ values: UnsafeMutablePointer<Float>, valueStride: Int, rows: Int, columns: Int, at start: Int,
    stride: Int)
}

/// Where the gradient of a matrix goes.
public enum MatrixGradient {
  /// It is added to these elements.
  case view(MatrixView)
  /// Each block of it goes to the sink as soon as it is made; its rows lie one after the other from the element `start` on.
  case blocks(any GradientSink, start: Int)
}
