import Kernels
import Parameters

/// What binarises an activation that may be negative or is shifted: what the number of bits makes it is chosen here, once.
///
/// Legend: N rows, I columns, O outputs.
enum ActivationBinariser {
  case signs(SignBinariser)
  case levels(LevelBinariser)

  /// - Parameter other: one that always binarises the same x, and first; nil for none.
  init(
    _ places: BinariserPlaces, rows: Int, columns: Int, sharing other: ActivationBinariser? = nil,
    in arena: inout Arena
  ) {
    if places.levels.isSign {
      self = .signs(SignBinariser(places, rows: rows, columns: columns, in: &arena))
    } else if case .levels(let other) = other {
      self = .levels(LevelBinariser(places, sharing: other))
    } else {
      self = .levels(LevelBinariser(places, rows: rows, columns: columns, in: &arena))
    }
  }

  var places: BinariserPlaces {
    switch self {
    case .signs(let binariser): binariser.places
    case .levels(let binariser): binariser.places
    }
  }
  var rows: Int {
    switch self {
    case .signs(let binariser): binariser.signs.rows
    case .levels(let binariser): binariser.input.rows
    }
  }
  var columns: Int {
    switch self {
    case .signs(let binariser): binariser.signs.columns
    case .levels(let binariser): binariser.input.columns
    }
  }

  /// What a product with these integers is multiplied by: α.
  func scale(_ parameters: FloatView) -> Float { places.step.value(parameters) }

  /// Sets α from x: N×I; METHOD's factor of mean|x + b|, over √Q_p.
  func fit(_ rule: StepSizeFit, to x: MatrixView, _ parameters: FloatView) {
    let levels = places.levels
    let factor = levels.isSigned ? rule.signedFactor : rule.unsignedFactor
    let root = Double(levels.highest).squareRoot()
    places.step.set(factor * places.meanOfAbsolutes(x, parameters) / root, parameters)
  }

  /// The largest |x + b| that lets a gradient through, for x: N×I, dense. That of levels is theirs, whatever is asked.
  func window(_ window: GradientWindow, of x: MatrixView, _ parameters: FloatView) -> Float {
    switch self {
    case .signs(let binariser): binariser.window(window, of: x, parameters)
    case .levels: .infinity
    }
  }

  /// Binarises x: N×I, on all threads.
  func pack(_ x: MatrixView, window: Float, _ parameters: FloatView) {
    switch self {
    case .signs(let binariser): binariser.pack(x, window: window, parameters)
    case .levels(let binariser): binariser.keep(x)
    }
  }

  /// Binarises rows of x on the calling thread: they become `rows` here.
  func packSerial(_ x: MatrixView, rows: Range<Int>, window: Float, _ parameters: FloatView) {
    switch self {
    case .signs(let binariser): binariser.packSerial(x, rows: rows, window: window, parameters)
    case .levels(let binariser): binariser.keepSerial(x, rows: rows)
    }
  }

  /// Writes factor·q of `rows`, on the calling thread.
  func writeSerial(rows: Range<Int>, factor: Float, _ parameters: FloatView, into out: MatrixView) {
    switch self {
    case .signs(let binariser): binariser.signs[rows: rows].unpack(high: factor, low: -factor, into: out)
    case .levels(let binariser):
      binariser.operand(parameters)[rows: rows].writeSerial(factor: factor, into: out)
    }
  }

  /// Writes ±α or α q of `rows`, on the calling thread.
  func unpack(rows: Range<Int>, _ parameters: FloatView, into out: MatrixView) {
    writeSerial(rows: rows, factor: scale(parameters), parameters, into: out)
  }

  /// y = (operand) (weight)ᵀ + bias: N×O, the sums of integers exact.
  func product(
    with weight: PackedMatrix, bias: FloatView, _ pass: Pass, into y: MatrixView
  ) {
    let scale = scale(pass.parameters) * weight.scale
    switch self {
    case .signs(let binariser):
      xnorProduct(binariser.signs, weight.interleaved, scale: scale, bias: bias, into: y)
    case .levels(let binariser):
      pass.scratch.levelProducts.product(
        binariser.operand(pass.parameters), weight.interleaved, scale: scale, bias: bias, into: y)
    }
  }

  /// What the products of a rounded gradient need of the operand.
  func backwardInput(_ parameters: FloatView) -> BinaryInput {
    switch self {
    case .signs(let binariser):
      .signs(binariser.signs, within: binariser.within, step: scale(parameters))
    case .levels(let binariser): .levels(binariser.operand(parameters))
    }
  }

  /// From the gradient d of the binarised operand to dx (N×I, written or added to) and that of b, on all threads.
  ///
  /// - Returns: the sum for the gradient of α.
  func backward(
    _ d: MatrixView, add: Bool, dx: MatrixView, _ parameters: FloatView, _ gradients: FloatView
  ) -> Double {
    switch self {
    case .signs(let binariser): binariser.backward(d, add: add, dx: dx, gradients)
    case .levels(let binariser):
      binariser.operand(parameters).backward(
        d, add: add, dx: dx, shiftGradient: places.shift(gradients))
    }
  }

  /// The same of `rows`, on the calling thread; dx is written.
  func backwardSerial(_ d: MatrixView, rows: Range<Int>, dx: MatrixView, _ parameters: FloatView) -> Double {
    switch self {
    case .signs(let binariser): binariser.backwardSerial(d, rows: rows, dx: dx)
    case .levels(let binariser):
      binariser.operand(parameters)[rows: rows].backwardSerial(d, add: false, dx: dx, shiftGradient: nil)
    }
  }

  /// Adds the gradient of α, of which `sum` is what backward returned.
  ///
  /// - Parameter slices: of a micro-batch, of which this is one.
  func addStepGradient(_ sum: Double, slices: Int, _ gradients: FloatView) {
    places.addStepGradient(sum, count: slices * rows * columns, gradients)
  }

  /// How many elements let a gradient through.
  func countWithin(_ parameters: FloatView) -> Int {
    switch self {
    case .signs(let binariser):
      let within = binariser.within
      return (0..<within.rows * within.words).reduce(0) { $0 + within.base[$1].nonzeroBitCount }
    case .levels(let binariser): return binariser.countWithin(parameters)
    }
  }
}
