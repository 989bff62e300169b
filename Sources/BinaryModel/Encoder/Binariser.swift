import Kernels
import Parameters

// A binariser turns an operand of a product into bits and a scale: what the product of two of them is multiplied by is the
// product of their scales. It knows its fit, what backward needs of the operand, and backward itself (METHOD, "Binarisers").
// Weights are binarised once an update, see `PackedWeights`; activations on their way, here.

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

  func set(_ value: Double, _ parameters: FloatView) { parameters[place] = Float(value) }

  /// Adds `sum` / √numel to the gradient of α.
  ///
  /// - Parameter count: elements of the operand in the whole micro-batch, times the highest of its levels.
  func addGradient(_ sum: Double, count: Int, _ gradients: FloatView) {
    gradients[place] += Float(sum / Double(count).squareRoot())
  }
}

/// Where a binariser's parameters lie in the flat buffers, and what integers it has.
struct BinariserPlaces {
  let step: StepSize
  /// One element for each column: the bias b; nil for none.
  let shift: Range<Int>?
  let levels: LevelSet

  func shift(_ parameters: FloatView) -> FloatView? { shift.map { parameters[$0] } }

  /// mean|x + b| of N×I.
  func meanOfAbsolutes(_ x: MatrixView, _ parameters: FloatView) -> Double {
    let sum = shift(parameters).map { x.sumOfAbsolutes(shift: $0) } ?? x.dense.sumOfAbsolutes()
    return sum / Double(x.rows * x.columns)
  }

  /// Adds the gradient of α, of which `sum` is what backward returned for elements that are `count` in a whole micro-batch.
  func addStepGradient(_ sum: Double, count: Int, _ gradients: FloatView) {
    step.addGradient(sum, count: count * levels.highest, gradients)
  }
}

/// The largest |x + b| of a signed operand that lets a gradient through to x and b.
public enum GradientWindow: Equatable, Sendable {
  /// α, which also scales: METHOD, "Binarisers".
  case stepSize
  /// This many times mean|x + b| of the operand in the batch at hand, padding included: apart from the scale.
  case means(Float)
}

/// The elastic binariser of signed operands: α·sign(x + b), sign(0) = +1. Its gradient to x and b is g where |x + b| ≤ α (or what
/// else the `GradientWindow` says), else 0; to α it is Σ sign·g / √numel. Backward needs two bits an element.
///
/// Legend: N rows, I columns.
struct SignBinariser {
  let places: BinariserPlaces
  /// N×I: x + b ≥ 0, and |x + b| within the window.
  let signs: BitView
  let within: BitView

  init(_ places: BinariserPlaces, rows: Int, columns: Int, in arena: inout Arena) {
    self.places = places
    signs = arena.bits(rows: rows, columns: columns)
    within = arena.bits(rows: rows, columns: columns)
  }

  /// What a product with these signs is multiplied by: α.
  func scale(_ parameters: FloatView) -> Float { places.step.value(parameters) }

  /// The largest |x + b| that lets a gradient through, for x: N×I, dense.
  ///
  /// - Cost: a pass over x where it is not the step size.
  func window(_ window: GradientWindow, of x: MatrixView, _ parameters: FloatView) -> Float {
    switch window {
    case .stepSize: scale(parameters)
    case .means(let factor): Float(Double(factor) * places.meanOfAbsolutes(x, parameters))
    }
  }

  /// Binarises x: N×I, on all threads.
  ///
  /// - Precondition: it has a bias b.
  func pack(_ x: MatrixView, window: Float, _ parameters: FloatView) {
    Kernels.pack(x, shift: parameters[places.shift!], step: window, signs: signs, within: within)
  }

  /// Binarises rows of x on the calling thread: they become `rows` here.
  func packSerial(_ x: MatrixView, rows: Range<Int>, window: Float, _ parameters: FloatView) {
    Kernels.packSerial(
      x, shift: places.shift(parameters), step: window, signs: signs[rows: rows], within: within[rows: rows])
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
}
