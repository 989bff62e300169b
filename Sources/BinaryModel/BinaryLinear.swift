import DenseProducts
import Kernels

/// A linear layer whose input and weight are binary: y = (α·sign(x + b)) (m·sign(w − mean w))ᵀ + bias.
///
/// Legend: N rows (tokens), I inputs, O outputs. METHOD, "Binarisers".
struct BinaryLinear {
  let places: BinaryLinearPlaces
  /// N×I: what backward needs of the input, two bits an element.
  let signs: BitView
  let within: BitView

  init(_ places: BinaryLinearPlaces, rows: Int, in arena: inout Arena) {
    self.places = places
    signs = arena.bits(rows: rows, columns: places.inputs)
    within = arena.bits(rows: rows, columns: places.inputs)
  }

  /// x: N×I → y: N×O. With `fit`, the step size is first set from x.
  ///
  /// - Cost: N·I to pack, N·I·O / 64 word operations.
  func forward(
    _ x: MatrixView, parameters: FloatView, weights: borrowing PackedWeights, fit: StepSizeFit?,
    into y: MatrixView
  ) {
    let shift = parameters[places.shift]
    if let fit {
      let mean = x.sumOfAbsolutes(shift: shift) / Double(x.rows * x.columns)
      parameters[places.step] = Float(fit.signedFactor * mean)
    }
    pack(x, shift: shift, step: stepSize(parameters, places.step), signs: signs, within: within)
    product(parameters: parameters, weights: weights, into: y)
  }

  /// The product with the input last packed: y again, N×O.
  ///
  /// - Cost: N·I·O / 64 word operations.
  func product(parameters: FloatView, weights: borrowing PackedWeights, into y: MatrixView) {
    xnorProduct(
      signs, weights.interleaved[places.index],
      scale: stepSize(parameters, places.step) * weights.scales[places.index],
      bias: parameters[places.bias], into: y)
  }

  /// dy: N×O → dx: N×I, written or added to; gradients of weight, bias, shift and step size are added to.
  ///
  /// - Cost: two products of 2·N·I·O operations, on bytes or bfloat16 where gradients are rounded.
  func backward(
    _ dy: MatrixView, parameters: FloatView, weights: borrowing PackedWeights, gradients: FloatView,
    add: Bool,
    dx: MatrixView, scratch: BackwardScratch
  ) {
    let step = stepSize(parameters, places.step)
    let scale = weights.scales[places.index]
    let weightGradient = MatrixView(
      gradients[places.weight], rows: places.outputs, columns: places.inputs)
    let sum: Double
    if let rounding = scratch.rounding {
      rounding.round(dy, place: places.index, addingColumnSumsTo: gradients[places.bias])
      sum = rounding.products(
        dy, weight: weights.signs[places.index], weightScale: scale, signs: signs, within: within, step: step,
        weightGradient: weightGradient, add: add, dx: dx, shiftGradient: gradients[places.shift])
    } else {
      dy.addColumnSums(to: gradients[places.bias])
      let input = MatrixView(scratch.input, rows: dy.rows, columns: places.inputs)
      parallelPanels(dy.rows, 96) { range, _ in
        signs[rows: range].unpack(high: step, low: -step, into: input[rows: range])
      }
      denseProduct(.transposed(dy), .plain(input), accumulate: true, into: weightGradient)
      let weight = MatrixView(scratch.weight, rows: places.outputs, columns: places.inputs)
      parallelPanels(places.outputs, 96) { range, _ in
        weights.signs[places.index][rows: range].unpack(high: scale, low: -scale, into: weight[rows: range])
      }
      // The binary input's gradient takes the place of the unpacked input.
      denseProduct(.plain(dy), .plain(weight), into: input)
      sum = signBackward(
        input, signs: signs, within: within, add: add, dx: dx, shiftGradient: gradients[places.shift])
    }
    gradients[places.step] += Float(sum / Double(scratch.slices * dy.rows * places.inputs).squareRoot())
  }
}

/// Memory that the backward passes of all layers share.
struct BackwardScratch {
  /// Slices of a micro-batch: gradients of step sizes are divided by √numel over all of it.
  let slices: Int
  /// N × max(H, F), and the largest binary matrix; empty where gradients are rounded.
  let input: FloatView
  let weight: FloatView
  /// Rounding of the gradients; nil in float32.
  var rounding: GradientRounding?

  init(
    _ c: ModelConfiguration, rows: Int, slices: Int, precision: BackwardPrecision, seed: UInt64,
    in arena: inout Arena
  ) {
    self.slices = slices
    let widest = max(c.hiddenSize, c.intermediateSize)
    let isExact = precision == .float32
    input = arena.floats(isExact ? rows * widest : 0)
    weight = arena.floats(isExact ? c.hiddenSize * widest : 0)
    switch precision {
    case .float32:
      rounding = nil
    case .bfloat16:
      let gradient = Bfloat16Gradient(rows: rows, columns: widest, outputs: widest, in: &arena)
      rounding = GradientRounding(format: .bfloat16(gradient))
    case .int8:
      let gradient = RoundedGradient(rows: rows, columns: widest, outputs: widest, in: &arena)
      rounding = GradientRounding(format: .int8(gradient, BackwardRounding(seed: seed)))
    }
  }
}

/// The rounded gradient of the layer at work, and the micro-batch at work, which random numbers depend on.
struct GradientRounding {
  enum Format {
    case bfloat16(Bfloat16Gradient)
    case int8(RoundedGradient, BackwardRounding)
  }

  let format: Format
  var epoch: UInt32 = 0
  var sample: UInt64 = 0

  init(format: Format) { self.format = format }

  /// Rounds the gradient of the binary matrix number `place`, and adds its column sums to `sums`.
  func round(_ gradient: MatrixView, place: Int, addingColumnSumsTo sums: FloatView) {
    switch format {
    case .bfloat16(let rounded):
      rounded.round(gradient, addingColumnSumsTo: sums)
    case .int8(let rounded, let random):
      rounded.round(
        gradient, draw: random.draw(place: place, epoch: epoch, sample: sample), addingColumnSumsTo: sums)
    }
  }

  /// The products of the gradient last rounded, as `RoundedGradient.products` has them.
  func products(
    _ gradient: MatrixView, weight: BitView, weightScale: Float, signs: BitView, within: BitView, step: Float,
    weightGradient: MatrixView, add: Bool, dx: MatrixView, shiftGradient: FloatView
  ) -> Double {
    switch format {
    case .bfloat16(let rounded):
      rounded.products(
        gradient, weight: weight, weightScale: weightScale, signs: signs, within: within, step: step,
        weightGradient: weightGradient, add: add, dx: dx, shiftGradient: shiftGradient)
    case .int8(let rounded, _):
      rounded.products(
        gradient, weight: weight, weightScale: weightScale, signs: signs, within: within, step: step,
        weightGradient: weightGradient, add: add, dx: dx, shiftGradient: shiftGradient)
    }
  }
}

/// A full-precision linear layer: y = x Wᵀ + bias.
enum Linear {
  static func forward(_ x: MatrixView, _ places: LinearPlaces, parameters: FloatView, into y: MatrixView) {
    let weight = MatrixView(parameters[places.weight], rows: places.outputs, columns: places.inputs)
    denseProduct(.plain(x), .transposed(weight), into: y)
    y.addToRows(parameters[places.bias])
  }

  /// dx += dy W; the gradients of weight and bias are added to.
  static func backward(
    _ dy: MatrixView, x: MatrixView, _ places: LinearPlaces, parameters: FloatView, gradients: FloatView,
    addingTo dx: MatrixView
  ) {
    let weight = MatrixView(parameters[places.weight], rows: places.outputs, columns: places.inputs)
    dy.addColumnSums(to: gradients[places.bias])
    denseProduct(
      .transposed(dy), .plain(x), accumulate: true,
      into: MatrixView(gradients[places.weight], rows: places.outputs, columns: places.inputs))
    denseProduct(.plain(dy), .plain(weight), accumulate: true, into: dx)
  }
}
