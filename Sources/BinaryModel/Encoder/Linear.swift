import Kernels
import Parameters

/// In which order the float32 products of a forward pass add up. Sums of whole numbers, those of bits, have none.
public enum SumOrder: Sendable {
  /// One sum after the other, along the summed dimension: training.
  case training
  /// Lane by lane, that of packed models (BinaryInference): evaluation, so that a packed model gives its very numbers.
  case fixed
}

/// Where a full-precision linear layer's tensors lie in the flat buffers. Legend: O outputs, I inputs.
public struct LinearPlaces: Sendable {
  /// What stands before `.weight` and `.bias`.
  public let name: String
  public let outputs: Int
  public let inputs: Int
  let weight: Range<Int>  // O×I
  let bias: Range<Int>  // O

  /// Adds the tensors of the layer called `name` to a layout.
  public init(_ name: String, outputs: Int, inputs: Int, in layout: inout LayoutBuilder) {
    self.init(name, outputs: outputs, inputs: inputs, weight: .real, in: &layout)
  }

  /// The same with a weight of any kind.
  init(
    _ name: String, outputs: Int, inputs: Int, weight kind: ParameterKind, in layout: inout LayoutBuilder
  ) {
    self.name = name
    self.outputs = outputs
    self.inputs = inputs
    weight = layout.add(name + ".weight", [outputs, inputs], kind, initial: .normal).range
    bias = layout.add(name + ".bias", [outputs], initial: .zero).range
  }

  /// O×I of a flat buffer.
  func weight(_ buffer: FloatView) -> MatrixView {
    MatrixView(buffer[weight], rows: outputs, columns: inputs)
  }

  /// x: N×I → y = x Wᵀ + bias: N×O.
  ///
  /// - Cost: 2·N·I·O operations.
  public func forward(
    _ x: MatrixView, parameters: FloatView, order: SumOrder = .training, into y: MatrixView
  ) {
    switch order {
    case .training:
      denseProduct(.plain(x), .transposed(weight(parameters)), into: y)
      y.addToRows(parameters[bias])
    case .fixed: fixedOrderLinear(x, weight(parameters), bias: parameters[bias], into: y)
    }
  }

  /// dx += dy W, unless nobody asks for it; the gradients of weight and bias are added to.
  ///
  /// - Cost: 4·N·I·O operations, half of them for dx.
  public func backward(
    _ dy: MatrixView, x: MatrixView, parameters: FloatView, gradients: FloatView, addingTo dx: MatrixView?
  ) {
    dy.addColumnSums(to: gradients[bias])
    denseProduct(.transposed(dy), .plain(x), accumulate: true, into: weight(gradients))
    if let dx { denseProduct(.plain(dy), .plain(weight(parameters)), accumulate: true, into: dx) }
  }
}
