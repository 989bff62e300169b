import CBitKernels

/// Elements, rows or columns that one step of a parallel loop handles.
private let elementPanel = 16_384
private let columnPanel = 64

private func rowPanel(_ columns: Int) -> Int { max(1, elementPanel / max(1, columns)) }

extension FloatView {
  /// Sets every element to zero, in parallel.
  public func clear() {
    parallelPanels(count, 1 << 18) { range, _ in self[range].fill(0) }
  }

  /// self += x.
  public func add(_ x: FloatView) {
    precondition(x.count == count, "\(x.count) elements added to \(count)")
    let kernel = InstructionSet.table.pointee.add!
    parallelPanels(count, elementPanel) { range, _ in
      kernel(x.base + range.lowerBound, range.count, base + range.lowerBound)
    }
  }

  /// self *= factor.
  public func multiply(by factor: Float) {
    let kernel = InstructionSet.table.pointee.scale!
    parallelPanels(count, elementPanel) { range, _ in kernel(factor, range.count, base + range.lowerBound) }
  }

  /// self = gelu(x) = x·Φ(x), the erf form.
  public func gelu(of x: FloatView) {
    precondition(x.count == count, "GELU of \(x.count) elements into \(count)")
    let kernel = InstructionSet.table.pointee.gelu!
    parallelPanels(count, elementPanel) { range, _ in
      kernel(x.base + range.lowerBound, range.count, base + range.lowerBound)
    }
  }

  /// self *= d gelu/dx at x: Φ(x) + x·φ(x).
  public func multiplyByGELUDerivative(at x: FloatView) {
    precondition(x.count == count, "GELU backward of \(x.count) elements into \(count)")
    let kernel = InstructionSet.table.pointee.gelu_backward!
    parallelPanels(count, elementPanel) { range, _ in
      kernel(x.base + range.lowerBound, range.count, base + range.lowerBound)
    }
  }

  /// self = max(self, 0).
  public func rectify() { InstructionSet.table.pointee.relu(count, base) }

  /// self = y > 0 ? self : 0, where y is the rectified value.
  public func rectifyBackward(_ y: FloatView) {
    precondition(y.count == count, "ReLU backward of \(y.count) elements into \(count)")
    InstructionSet.table.pointee.relu_backward(y.base, count, base)
  }

  /// self = tanh(self).
  public func tanh() { InstructionSet.table.pointee.tanh(count, base) }

  /// self *= 1 − y², where y is the tanh.
  public func tanhBackward(_ y: FloatView) {
    precondition(y.count == count, "tanh backward of \(y.count) elements into \(count)")
    InstructionSet.table.pointee.tanh_backward(y.base, count, base)
  }

  /// Σx, Σ|x| and Σx² in a fixed order, in double.
  public func sum() -> Double { InstructionSet.table.pointee.sum(base, count) }
  public func sumOfAbsolutes() -> Double { InstructionSet.table.pointee.sum_absolute(base, count) }
  public func sumOfSquares() -> Double { InstructionSet.table.pointee.sum_squares(base, count) }

  /// Adds factor·(self − target) to `gradient`, if given; returns Σ(self − target)².
  public func squaredDifference(to target: FloatView, factor: Float, addingTo gradient: FloatView?) -> Double
  {
    precondition(target.count == count && (gradient == nil || gradient!.count == count), "squared difference")
    return InstructionSet.table.pointee.squared_difference(base, target.base, count, factor, gradient?.base)
  }
}

extension MatrixView {
  /// out += the sum of each column.
  public func addColumnSums(to out: FloatView) {
    precondition(out.count == columns, "column sums of \(columns) into \(out.count)")
    let kernel = InstructionSet.table.pointee.add_column_sums!
    parallelPanels(columns, columnPanel) { range, _ in
      kernel(base, rows, stride, range.lowerBound, range.upperBound, out.base)
    }
  }

  /// out += Σ over rows of self ∘ other, for each column. Both are dense.
  public func addColumnDots(with other: MatrixView, to out: FloatView) {
    precondition(out.count == columns && other.rows == rows && other.stride == stride, "column dots")
    let kernel = InstructionSet.table.pointee.add_column_dots!
    parallelPanels(columns, columnPanel) { range, _ in
      kernel(base, other.base, rows, stride, range.lowerBound, range.upperBound, out.base)
    }
  }

  /// Adds `bias` to every row.
  public func addToRows(_ bias: FloatView) {
    precondition(bias.count == columns, "a bias of \(bias.count) for \(columns) columns")
    let kernel = InstructionSet.table.pointee.add!
    parallelPanels(rows, 64) { range, _ in
      for row in range { kernel(bias.base, columns, base + row * stride) }
    }
  }

  /// Σ|x + shift| over all elements, shift per column, in a fixed order. Dense.
  public func sumOfAbsolutes(shift: FloatView) -> Double {
    precondition(
      shift.count == columns && stride == columns, "a shift of \(shift.count) for \(columns) columns")
    return InstructionSet.table.pointee.sum_absolute_shifted(base, rows, columns, shift.base)
  }
}

/// Straight-through backward of an elastic sign of an M×K operand.
///
/// - Parameters:
///   - gradient: M×K, to the binarised value.
///   - within: M×K bits, |x + shift| ≤ step.
///   - dx: M×K; written, or added to when `add`. May be `gradient`.
///   - shiftGradient: K elements to which the column sums of dx are added, or nil.
/// - Returns: Σ sign·gradient, to be divided by √numel for the step size's gradient.
public func signBackward(
  _ gradient: MatrixView, signs: BitView, within: BitView, add: Bool, dx: MatrixView,
  shiftGradient: FloatView?
) -> Double {
  let columns = gradient.columns
  let panels = (columns + columnPanel - 1) / columnPanel
  return withUnsafeTemporaryAllocation(of: Double.self, capacity: panels) { sums in
    parallelFor(panels) { index, _ in
      sums[index] = signBackwardSerial(
        gradient, signs: signs, within: within,
        columns: index * columnPanel..<min(columns, (index + 1) * columnPanel), add: add, dx: dx,
        shiftGradient: shiftGradient)
    }
    return sums.reduce(0, +)
  }
}

/// `signBackward` for the columns of `range` (starting at a multiple of 64) on the calling thread alone.
public func signBackwardSerial(
  _ gradient: MatrixView, signs: BitView, within: BitView, columns range: Range<Int>, add: Bool,
  dx: MatrixView,
  shiftGradient: FloatView?
) -> Double {
  precondition(
    signs.rows == gradient.rows && signs.columns == gradient.columns && dx.rows == gradient.rows
      && dx.columns == gradient.columns, "sign backward of \(gradient.rows)×\(gradient.columns)")
  return InstructionSet.table.pointee.sign_backward(
    gradient.base, gradient.stride, signs.base, within.base, gradient.rows, signs.words, range.lowerBound,
    range.upperBound, add, dx.base, dx.stride, shiftGradient?.base)
}

/// Layer normalisation of the rows of x (M×K): normalised = (x − mean) / √(variance + ε), y = normalised·weight + bias.
///
/// - Parameter inverseDeviation: M elements, 1 / √(variance + ε), for backward.
public func normalise(
  _ x: MatrixView, epsilon: Float, weight: FloatView, bias: FloatView, normalised: FloatView,
  inverseDeviation: FloatView, into y: FloatView
) {
  let columns = x.columns
  precondition(
    weight.count == columns && bias.count == columns && x.stride == columns
      && inverseDeviation.count >= x.rows && normalised.count >= x.rows * columns
      && y.count >= x.rows * columns,
    "layer normalisation of \(x.rows)×\(columns)")
  let kernel = InstructionSet.table.pointee.normalise!
  parallelPanels(x.rows, rowPanel(columns)) { range, _ in
    let first = range.lowerBound * columns
    kernel(
      x.base + first, range.count, columns, epsilon, weight.base, bias.base, normalised.base + first,
      inverseDeviation.base + range.lowerBound, y.base + first)
  }
}

/// Backward of `normalise`: dx from dy (M×K); dx may be dy. The parameters' gradients are column sums of dy∘normalised
/// and dy, which the caller takes before.
public func normaliseBackward(
  _ dy: MatrixView, weight: FloatView, normalised: FloatView, inverseDeviation: FloatView, into dx: FloatView
) {
  let columns = dy.columns
  precondition(
    weight.count == columns && dy.stride == columns, "layer normalisation of \(dy.rows)×\(columns)")
  let kernel = InstructionSet.table.pointee.normalise_backward!
  parallelPanels(dy.rows, rowPanel(columns)) { range, _ in
    let first = range.lowerBound * columns
    kernel(
      dy.base + first, weight.base, normalised.base + first, inverseDeviation.base + range.lowerBound,
      range.count,
      columns, dx.base + first)
  }
}

/// Cross entropy of one row of logits against `label`; the row becomes factor·(softmax − one-hot).
///
/// - Returns: the loss, and the first index of the largest logit.
public func crossEntropy(_ logits: FloatView, label: Int, factor: Float) -> (loss: Double, best: Int) {
  precondition(label >= 0 && label < logits.count, "label \(label) of \(logits.count) classes")
  var best = 0
  let loss = InstructionSet.table.pointee.cross_entropy(logits.base, logits.count, label, factor, &best)
  return (loss, best)
}
