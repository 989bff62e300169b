import Kernels
import Parameters

/// A fit in progress: what a forward pass asks in `ForwardMode.fit`. Sums are float64 in a fixed order.
///
/// Legend: N rows (tokens), I inputs, O outputs.
final class Fit {
  let rule: StepSizeFit
  let estimators: EstimatorFit
  /// nil where no rule asks for it.
  let reference: FitReference?
  /// Of the layers gone through.
  private(set) var layers: [LayerFit] = []
  /// Of the layer at hand, nil before the first one and after the last.
  private var current: LayerFit?

  init(_ rule: StepSizeFit, _ estimators: EstimatorFit, reference: @autoclosure () -> FitReference) {
    self.rule = rule
    self.estimators = estimators
    self.reference = rule == .output || estimators == .closedForm ? reference() : nil
  }

  func enter(layer: Int) {
    current = LayerFit(layer: layer)
    reference?.enter(layer)
  }

  func leave(layer: Int, state: FloatView, _ pass: Pass) {
    guard var found = current else { return }
    if let reference { found.distance = pass.tokens.meanSquare(of: state, less: reference.state) }
    layers.append(found)
    current = nil
  }

  /// Changes what is told of the layer at hand.
  func note(_ change: (inout LayerFit) -> Void) {
    if var found = current {
      change(&found)
      current = found
    }
  }

  /// Sets α of a linear layer's input or of a head's operand from x.
  func setStep(of binariser: ActivationBinariser, from x: MatrixView, _ parameters: FloatView) {
    binariser.fit(rule, to: x, parameters)
  }

  /// Sets α and the bias so that the output of a linear layer comes nearest to the reference's:
  ///
  ///     α ← α·Σ(y − ȳ)(t − t̄) / Σ(y − ȳ)²      bias ← t̄ − that slope·(ȳ − bias), means a channel
  ///
  /// - Parameters:
  ///   - y: N×O, the output with the present α and bias.
  /// - Returns: whether they changed.
  func fitOutput(_ y: MatrixView, of linear: LinearPlaces, _ step: StepSize, _ pass: Pass) -> Bool {
    guard rule == .output, let target = reference?.output(of: linear.name) else { return false }
    let rows = pass.tokens.realRows
    let (means, targetMeans) = (y.columnMeans(of: rows), target.columnMeans(of: rows))
    var (product, square) = (0.0, 0.0)
    for row in rows {
      let (own, other) = (y.base + row * y.stride, target.base + row * target.stride)
      for column in 0..<y.columns {
        let z = Double(own[column]) - means[column]
        product += z * (Double(other[column]) - targetMeans[column])
        square += z * z
      }
    }
    let slope = product / square
    guard slope.isFinite, slope > 0 else {
      note { $0.unfitted.append(linear.name) }
      return false
    }
    step.set(Double(step.value(pass.parameters)) * slope, pass.parameters)
    let bias = pass.parameters[linear.bias]
    for column in 0..<y.columns {
      bias[column] = Float(targetMeans[column] - slope * (means[column] - Double(bias[column])))
    }
    return true
  }
}

extension TokenBatch {
  /// The rows of real tokens, in their order. Legend: as `TokenBatch`.
  var realRows: [Int] {
    (0..<sequences).flatMap { b in (0..<Int(lengths[b])).map { b * length + $0 } }
  }

  /// The mean of the squares of two N×H matrices' differences, over real tokens.
  func meanSquare(of state: FloatView, less other: MatrixView) -> Double {
    let rows = realRows
    let sum = rows.reduce(0.0) { sum, row in
      let own = state[row * other.columns..<(row + 1) * other.columns]
      return sum
        + own.squaredDifference(to: other[rows: row..<row + 1].dense, factor: 0, addingTo: nil)
    }
    return sum / Double(max(1, rows.count * other.columns))
  }
}

extension MatrixView {
  /// The mean of each column over some rows.
  func columnMeans(of rows: [Int]) -> [Double] {
    var sums = [Double](repeating: 0, count: columns)
    for row in rows {
      let own = base + row * stride
      for column in 0..<columns { sums[column] += Double(own[column]) }
    }
    return sums.map { $0 / Double(max(1, rows.count)) }
  }

  /// The signs of the elements, sign(0) = +1, written to `out`.
  func writeSigns(to out: MatrixView) {
    for row in 0..<rows {
      let (own, other) = (base + row * stride, out.base + row * out.stride)
      for column in 0..<columns { other[column] = own[column] >= 0 ? 1 : -1 }
    }
  }
}
