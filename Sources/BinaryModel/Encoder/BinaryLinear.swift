import Kernels
import Parameters

/// A linear layer whose input and weight are binary: y = (α·q(x + b)) (m·sign(w − mean w))ᵀ + bias, q the sign or
/// an integer of n bits.
///
/// Legend: N rows (tokens), I inputs, O outputs. METHOD, "Binarisers".
struct BinaryLinear {
  let linear: LinearPlaces
  /// The number of its weight among the binary matrices.
  let matrix: Int
  /// Of N×I.
  let input: ActivationBinariser

  init(
    _ linear: LinearPlaces, matrix: Int, input: BinariserPlaces, rows: Int, sharing: ActivationBinariser?,
    in arena: inout Arena
  ) {
    self.linear = linear
    self.matrix = matrix
    self.input = ActivationBinariser(
      input, rows: rows, columns: linear.inputs, sharing: sharing, in: &arena)
  }

  /// x: N×I → y: N×O. In a fit, step size and bias are set on the way.
  ///
  /// - Cost: N·I to pack, n·N·I·O / 64 word operations for n bits.
  func forward(_ x: MatrixView, _ pass: Pass, into y: MatrixView) {
    pass.mode.fit?.setStep(of: input, from: x, pass.parameters)
    input.pack(x, window: input.window(pass.window, of: x, pass.parameters), pass.parameters)
    product(pass, into: y)
    if let fit = pass.mode.fit, fit.fitOutput(y, of: linear, input.places.step, pass) {
      product(pass, into: y)
    }
  }

  /// The product with the input last packed: y again, N×O.
  ///
  /// - Cost: n·N·I·O / 64 word operations for n bits.
  func product(_ pass: Pass, into y: MatrixView) {
    input.product(with: pass.matrices[matrix], bias: pass.parameters[linear.bias], pass, into: y)
  }

  /// dy: N×O → dx: N×I, written or added to; gradients of weight, bias, shift and step size are added to.
  ///
  /// - Cost: two products of 2·N·I·O operations, on bytes or bfloat16 where gradients are rounded.
  func backward(_ dy: MatrixView, _ pass: BackwardPass, add: Bool, dx: MatrixView) {
    let (gradients, scratch) = (pass.gradients, pass.scratch.backward)
    let weight = pass.forward.matrices[matrix]
    let weightGradient =
      pass.sinks.matrices.map { MatrixGradient.blocks($0, start: linear.weight.lowerBound) }
      ?? .view(linear.weight(gradients))
    let sum: Double
    if let rounding = scratch.rounding {
      rounding.round(
        dy, place: matrix, sampleOf: pass.forward.tokens, addingColumnSumsTo: gradients[linear.bias])
      sum = rounding.products(
        dy, weight: weight, input: input.backwardInput(pass.parameters),
        weightGradient: weightGradient, add: add, dx: dx, shiftGradient: gradients[input.places.shift!])
    } else {
      dy.addColumnSums(to: gradients[linear.bias])
      let unpacked = scratch.unpack(input, pass.parameters)
      addDenseProduct(.transposed(dy), .plain(unpacked), to: weightGradient, through: scratch.panels)
      let signs = MatrixView(scratch.weight, rows: linear.outputs, columns: linear.inputs)
      parallelPanels(linear.outputs, 96) { range, _ in
        weight.signs[rows: range].unpack(high: weight.scale, low: -weight.scale, into: signs[rows: range])
      }
      // The binary input's gradient takes the place of the unpacked input.
      denseProduct(.plain(dy), .plain(signs), into: unpacked)
      sum = input.backward(unpacked, add: add, dx: dx, pass.parameters, gradients)
    }
    input.addStepGradient(sum, slices: scratch.slices, gradients)
  }
}

/// Memory that the backward passes of all layers share.
struct BackwardScratch {
  /// Slices of a micro-batch: gradients of step sizes are divided by √numel over all of it.
  let slices: Int
  /// N × max(H, F), and the largest binary matrix; empty where gradients are rounded.
  let input: FloatView
  let weight: FloatView
  let panels: ProductPanels
  /// Rounding of the gradients; nil in float32.
  let rounding: GradientRounding?

  init(
    _ c: ModelConfiguration, rows: Int, slices: Int, precision: BackwardPrecision, seed: UInt64,
    in arena: inout Arena
  ) {
    self.slices = slices
    let widest = max(c.hiddenSize, c.intermediateSize)
    let isExact = precision == .float32
    input = arena.floats(isExact ? rows * widest : 0)
    weight = arena.floats(isExact ? c.hiddenSize * widest : 0)
    panels = ProductPanels(
      isExact ? [(c.hiddenSize, c.hiddenSize), (c.hiddenSize, widest)] : [], in: &arena)
    switch precision {
    case .float32:
      rounding = nil
    case .bfloat16:
      rounding = .bfloat16(
        Bfloat16Gradient(
          rows: rows, columns: widest, outputs: widest, hasLevels: c.hasLevels, in: &arena))
    case .int8:
      rounding = .int8(
        RoundedGradient(rows: rows, columns: widest, outputs: widest, in: &arena),
        BackwardRounding(seed: seed))
    }
  }

  /// A binary input as floats, ±α or α q, in the memory of `input`: N×I.
  func unpack(_ binary: ActivationBinariser, _ parameters: FloatView) -> MatrixView {
    let (rows, columns) = (binary.rows, binary.columns)
    let unpacked = MatrixView(input, rows: rows, columns: columns)
    parallelPanels(rows, 96) { range, _ in
      binary.unpack(rows: range, parameters, into: unpacked[rows: range])
    }
    return unpacked
  }
}

/// The rounded gradient of the layer at work.
enum GradientRounding {
  case bfloat16(Bfloat16Gradient)
  case int8(RoundedGradient, BackwardRounding)

  /// Rounds the gradient of the binary matrix number `place`, and adds its column sums to `sums`. Random numbers depend on
  /// the epoch and the first sample of the slice.
  func round(
    _ gradient: MatrixView, place: Int, sampleOf tokens: TokenBatch, addingColumnSumsTo sums: FloatView
  ) {
    switch self {
    case .bfloat16(let rounded):
      rounded.round(gradient, addingColumnSumsTo: sums)
    case .int8(let rounded, let random):
      let draw = random.draw(place: place, epoch: tokens.epoch, sample: tokens.sampleIDs[0])
      rounded.round(gradient, draw: draw, addingColumnSumsTo: sums)
    }
  }

  /// The products of the gradient last rounded, as `RoundedGradient.products` has them.
  func products(
    _ gradient: MatrixView, weight: PackedMatrix, input: BinaryInput,
    weightGradient: MatrixGradient, add: Bool, dx: MatrixView, shiftGradient: FloatView
  ) -> Double {
    switch self {
    case .bfloat16(let rounded):
      rounded.products(
        gradient, weight: weight.signs, weightScale: weight.scale, input: input,
        weightGradient: weightGradient, add: add, dx: dx, shiftGradient: shiftGradient)
    case .int8(let rounded, _):
      rounded.products(
        gradient, weight: weight.signs, weightScale: weight.scale, input: input,
        weightGradient: weightGradient, add: add, dx: dx, shiftGradient: shiftGradient)
    }
  }
}
