import Kernels
import Parameters

/// Where the tensors of one of the encoder's linear layers lie in the flat buffers: as many as the model's precision needs.
/// Legend: O outputs, I inputs.
struct EncoderLinearPlaces: Sendable {
  let linear: LinearPlaces
  /// The number of the weight among the binary matrices; nil where it is used as it is.
  let matrix: Int?
  /// nil where the input is used as it is.
  let input: BinariserPlaces?

  /// Adds the tensors of the layer called `name` to a layout.
  ///
  /// - Parameter levels: of its input where that is binary; nil for the model's signed ones.
  init(
    _ name: String, outputs: Int, inputs: Int, _ c: ModelConfiguration, levels: LevelSet? = nil,
    in layout: inout LayoutBuilder
  ) {
    let precision = c.precision
    matrix = precision.hasBinaryWeights ? layout.matrixCount : nil
    linear = LinearPlaces(
      name, outputs: outputs, inputs: inputs, weight: precision.hasBinaryWeights ? .binaryMatrix : .real,
      in: &layout)
    guard precision.hasBinaryActivations else {
      input = nil
      return
    }
    let shift = layout.add(name + ".move.bias", [inputs], initial: .zero).range
    input = BinariserPlaces(
      step: StepSize(name + ".input_clip_val", in: &layout), shift: shift, levels: levels ?? c.signedLevels)
  }
}

/// One of the encoder's linear layers: what the model's precision makes it is chosen here, once.
///
/// Legend: N rows (tokens), I inputs, O outputs.
enum EncoderLinear {
  case binary(BinaryLinear)
  case halfBinary(HalfBinaryLinear)
  case full(FullPrecisionLinear)

  /// - Parameter other: a layer whose forward pass comes before, of the same input; nil for none.
  init(
    _ places: EncoderLinearPlaces, rows: Int, sharingInputOf other: EncoderLinear? = nil,
    in arena: inout Arena
  ) {
    switch (places.input, places.matrix) {
    case (let input?, let matrix?):
      self = .binary(
        BinaryLinear(
          places.linear, matrix: matrix, input: input, rows: rows, sharing: other?.input, in: &arena))
    case (let input?, nil):
      self = .halfBinary(
        HalfBinaryLinear(places.linear, input: input, rows: rows, sharing: other?.input, in: &arena))
    case (nil, _):
      self = .full(FullPrecisionLinear(places.linear, rows: rows, in: &arena))
    }
  }

  /// What binarises the input; nil at full precision.
  var input: ActivationBinariser? {
    switch self {
    case .binary(let layer): layer.input
    case .halfBinary(let layer): layer.input
    case .full: nil
    }
  }

  /// x: N×I → y: N×O. In a fit, step size and bias are set on the way.
  func forward(_ x: MatrixView, _ pass: Pass, into y: MatrixView) {
    switch self {
    case .binary(let layer): layer.forward(x, pass, into: y)
    case .halfBinary(let layer): layer.forward(x, pass, into: y)
    case .full(let layer): layer.forward(x, pass, into: y)
    }
  }

  /// The product with the last input: y again, N×O.
  func product(_ pass: Pass, into y: MatrixView) {
    switch self {
    case .binary(let layer): layer.product(pass, into: y)
    case .halfBinary(let layer): layer.product(pass, into: y)
    case .full(let layer): layer.product(pass, into: y)
    }
  }

  /// dy: N×O → dx: N×I, written or added to; the parameters' gradients are added to.
  func backward(_ dy: MatrixView, _ pass: BackwardPass, add: Bool, dx: MatrixView) {
    switch self {
    case .binary(let layer): layer.backward(dy, pass, add: add, dx: dx)
    case .halfBinary(let layer): layer.backward(dy, pass, add: add, dx: dx)
    case .full(let layer): layer.backward(dy, pass, add: add, dx: dx)
    }
  }
}

/// A linear layer whose input is binary and whose weight is not: y = (α·q(x + b)) Wᵀ + bias, q the sign or an
/// integer of n bits.
///
/// Legend: N rows (tokens), I inputs, O outputs.
struct HalfBinaryLinear {
  let linear: LinearPlaces
  /// Of N×I.
  let input: ActivationBinariser

  init(
    _ linear: LinearPlaces, input: BinariserPlaces, rows: Int, sharing: ActivationBinariser?,
    in arena: inout Arena
  ) {
    self.linear = linear
    self.input = ActivationBinariser(
      input, rows: rows, columns: linear.inputs, sharing: sharing, in: &arena)
  }

  /// - Cost: N·I to pack, 2·N·I·O operations.
  func forward(_ x: MatrixView, _ pass: Pass, into y: MatrixView) {
    pass.mode.fit?.setStep(of: input, from: x, pass.parameters)
    input.pack(x, window: input.window(pass.window, of: x, pass.parameters), pass.parameters)
    product(pass, into: y)
    if let fit = pass.mode.fit, fit.fitOutput(y, of: linear, input.places.step, pass) {
      product(pass, into: y)
    }
  }

  /// - Cost: 2·N·I·O operations.
  func product(_ pass: Pass, into y: MatrixView) {
    linear.forward(
      pass.scratch.backward.unpack(input, pass.parameters), parameters: pass.parameters, into: y)
  }

  /// - Cost: two products of 2·N·I·O operations.
  func backward(_ dy: MatrixView, _ pass: BackwardPass, add: Bool, dx: MatrixView) {
    let (parameters, gradients, scratch) = (pass.parameters, pass.gradients, pass.scratch.backward)
    let unpacked = scratch.unpack(input, parameters)
    linear.backward(dy, x: unpacked, parameters: parameters, gradients: gradients, addingTo: nil)
    // The binary input's gradient takes the place of the unpacked input.
    denseProduct(.plain(dy), .plain(linear.weight(parameters)), into: unpacked)
    let sum = input.backward(unpacked, add: add, dx: dx, parameters, gradients)
    input.addStepGradient(sum, slices: scratch.slices, gradients)
  }
}

/// A linear layer in float32, which keeps its input for backward: y = x Wᵀ + bias.
///
/// Legend: N rows (tokens), I inputs, O outputs.
struct FullPrecisionLinear {
  let linear: LinearPlaces
  /// N×I
  let input: MatrixView

  init(_ linear: LinearPlaces, rows: Int, in arena: inout Arena) {
    self.linear = linear
    input = MatrixView(arena.floats(rows * linear.inputs), rows: rows, columns: linear.inputs)
  }

  /// - Cost: 2·N·I·O operations.
  func forward(_ x: MatrixView, _ pass: Pass, into y: MatrixView) {
    input.dense.copy(from: x.dense)
    product(pass, into: y)
  }

  /// - Cost: 2·N·I·O operations.
  func product(_ pass: Pass, into y: MatrixView) {
    linear.forward(input, parameters: pass.parameters, into: y)
  }

  /// - Cost: two products of 2·N·I·O operations.
  func backward(_ dy: MatrixView, _ pass: BackwardPass, add: Bool, dx: MatrixView) {
    linear.backward(
      dy, x: input, parameters: pass.parameters, gradients: pass.gradients, addingTo: nil)
    denseProduct(.plain(dy), .plain(linear.weight(pass.parameters)), accumulate: add, into: dx)
  }
}
