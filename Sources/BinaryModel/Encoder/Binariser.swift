import Kernels
import Parameters

// A binariser turns an operand of a product into bits and a scale: what the product of two of them is multiplied by is the
// product of their scales. It knows its fit, what backward needs of the operand, and backward itself (METHOD, "Binarisers").
// Weights are binarised once an update, see `PackedWeights`; activations on their way, here.

/// How a step size is fitted to the first operand that reaches it (METHOD, "Step-size fit").
public enum StepSizeFit: String, CaseIterable, Sendable {
  /// 2·mean|x| for signed operands, 4·mean|p| for probabilities: the authors' release.
  case published
  /// mean|x| for signed operands, the best scale of signs in the least-squares sense; 4·mean|p| for probabilities.
  case leastSquares = "least_squares"

  var signedFactor: Double { self == .published ? 2 : 1 }
  var unsignedFactor: Double { 4 }
}

/// A step size α: a learned scalar of the flat buffers.
struct StepSize {
  /// A step size below this acts as this.
  static let smallest: Float = 1e-5

  let place: Int

  /// Adds the step size called `name` to a layout.
  init(_ name: String, in layout: inout LayoutBuilder) {
    place = layout.add(name, [], .stepSize, initial: .one).offset
  }

  /// α as it acts.
  func value(_ parameters: FloatView) -> Float { max(parameters[place], Self.smallest) }

  /// α = factor · the mean of an operand's absolutes, of which `sum` is the sum.
  func fit(_ sum: Double, count: Int, factor: Double, _ parameters: FloatView) {
    parameters[place] = Float(factor * (sum / Double(count)))
  }

  /// Adds `sum` / √numel to the gradient of α.
  ///
  /// - Parameter count: elements of the operand in the whole micro-batch.
  func addGradient(_ sum: Double, count: Int, _ gradients: FloatView) {
    gradients[place] += Float(sum / Double(count).squareRoot())
  }
}

/// The elastic binariser of signed operands: α·sign(x + b), sign(0) = +1. Its gradient to x and b is g where |x + b| ≤ α,
/// else 0; to α it is Σ sign·g / √numel. Backward needs two bits an element.
///
/// Legend: N rows, I columns.
struct SignBinariser {
  struct Places {
    let step: StepSize
    /// I: the bias b; nil for none.
    let shift: Range<Int>?
  }

  let places: Places
  /// N×I: x + b ≥ 0, and |x + b| ≤ α.
  let signs: BitView
  let within: BitView

  init(_ places: Places, rows: Int, columns: Int, in arena: inout Arena) {
    self.places = places
    signs = arena.bits(rows: rows, columns: columns)
    within = arena.bits(rows: rows, columns: columns)
  }

  /// What a product with these signs is multiplied by: α.
  func scale(_ parameters: FloatView) -> Float { places.step.value(parameters) }

  private func shift(_ parameters: FloatView) -> FloatView? { places.shift.map { parameters[$0] } }

  /// Sets α from x: N×I.
  func fit(_ rule: StepSizeFit, to x: MatrixView, _ parameters: FloatView) {
    let sum = shift(parameters).map { x.sumOfAbsolutes(shift: $0) } ?? x.dense.sumOfAbsolutes()
    places.step.fit(sum, count: x.rows * x.columns, factor: rule.signedFactor, parameters)
  }

  /// Binarises x: N×I, on all threads.
  ///
  /// - Precondition: it has a bias b.
  func pack(_ x: MatrixView, _ parameters: FloatView) {
    Kernels.pack(x, shift: parameters[places.shift!], step: scale(parameters), signs: signs, within: within)
  }

  /// Binarises rows of x on the calling thread: they become `rows` here.
  func packSerial(_ x: MatrixView, rows: Range<Int>, _ parameters: FloatView) {
    Kernels.packSerial(
      x, shift: shift(parameters), step: scale(parameters), signs: signs[rows: rows],
      within: within[rows: rows])
  }

  /// Writes ±α of `rows`.
  func unpack(rows: Range<Int>, _ parameters: FloatView, into out: MatrixView) {
    let scale = scale(parameters)
    signs[rows: rows].unpack(high: scale, low: -scale, into: out)
  }

  /// From the gradient d of the binarised operand to dx (N×I, written or added to) and that of b, on all threads.
  ///
  /// - Returns: Σ sign·d, for `addStepGradient`.
  func backward(_ d: MatrixView, add: Bool, dx: MatrixView, _ gradients: FloatView) -> Double {
    signBackward(
      d, signs: signs, within: within, add: add, dx: dx, shiftGradient: gradients[places.shift!])
  }

  /// The same of `rows`, on the calling thread; dx is written.
  func backwardSerial(_ d: MatrixView, rows: Range<Int>, dx: MatrixView) -> Double {
    signBackwardSerial(
      d, signs: signs[rows: rows], within: within[rows: rows], columns: 0..<signs.columns, add: false,
      dx: dx, shiftGradient: nil)
  }

  /// Adds the gradient of α, of which `sum` is Σ sign·g.
  ///
  /// - Parameter slices: of a micro-batch, of which this is one.
  func addStepGradient(_ sum: Double, slices: Int, _ gradients: FloatView) {
    places.step.addGradient(sum, count: slices * signs.rows * signs.columns, gradients)
  }
}

/// The elastic binariser of attention probabilities, dropout included: α·clamp(round(p/α), 0, 1), half to even, so 1 exactly
/// where p/α > 0.5. Backward needs the probabilities themselves, which it computes the bits of again.
struct ProbabilityBinariser {
  let step: StepSize

  /// What a product with these bits is multiplied by: α.
  func scale(_ parameters: FloatView) -> Float { step.value(parameters) }

  /// Sets α from all probabilities.
  func fit(_ rule: StepSizeFit, to p: FloatView, _ parameters: FloatView) {
    step.fit(p.sum(), count: p.count, factor: rule.unsignedFactor, parameters)
  }

  /// The bits of p, after dropout that keeps `keep`, on the calling thread.
  func packSerial(
    _ p: MatrixView, keep: BitView, dropout: Dropout?, _ parameters: FloatView, into bits: BitView
  ) {
    binariseProbabilitiesSerial(
      p, keep: dropout == nil ? nil : keep, factor: dropout?.factor ?? 1, step: scale(parameters), into: bits)
  }

  /// The gradient of the binarised probabilities becomes that of the unscaled scores, on the calling thread.
  ///
  /// - Returns: the sum for the gradient of α.
  func backwardSerial(
    _ p: MatrixView, keep: BitView, dropout: Dropout?, scoreFactor: Float, _ parameters: FloatView,
    gradient: MatrixView
  ) -> Double {
    probabilitiesBackwardSerial(
      p, keep: dropout == nil ? nil : keep, dropoutFactor: dropout?.factor ?? 1, step: scale(parameters),
      scoreFactor: scoreFactor, gradient: gradient)
  }
}
