import Kernels
import Parameters

/// Where a layer normalisation's tensors lie in the flat buffers.
struct NormalisationPlaces: Sendable {
  /// What stands before `.weight` and `.bias`.
  let name: String
  let weight: Range<Int>
  let bias: Range<Int>

  /// Adds the tensors of the normalisation called `name` to a layout.
  init(_ name: String, width: Int, in layout: inout LayoutBuilder) {
    self.name = name
    weight = layout.add(name + ".weight", [width], initial: .one).range
    bias = layout.add(name + ".bias", [width], initial: .zero).range
  }
}

/// Layer normalisation over the hidden axis and what its backward needs (Ba et al. 2016). Legend: N rows, H hidden.
struct LayerNormalisation {
  static let epsilon: Float = 1e-12
  let places: NormalisationPlaces
  /// N×H
  let normalised: FloatView
  /// N
  let inverseDeviation: FloatView

  init(_ places: NormalisationPlaces, rows: Int, in arena: inout Arena) {
    self.places = places
    normalised = arena.floats(rows * places.weight.count)
    inverseDeviation = arena.floats(rows)
  }

  /// x: N×H → y: N×H, which may be x. N may be less than the rows this was made for.
  func forward(_ x: MatrixView, parameters: FloatView, into y: FloatView) {
    normalise(
      x, epsilon: Self.epsilon, weight: parameters[places.weight], bias: parameters[places.bias],
      normalised: normalised, inverseDeviation: inverseDeviation, into: y)
  }

  /// dy: N×H → dx: N×H, which may be dy; the gradients of weight and bias are added to.
  func backward(_ dy: MatrixView, parameters: FloatView, gradients: FloatView, into dx: FloatView) {
    let hat = MatrixView(normalised, rows: dy.rows, columns: dy.columns)
    dy.addColumnDots(with: hat, to: gradients[places.weight])
    dy.addColumnSums(to: gradients[places.bias])
    normaliseBackward(
      dy, weight: parameters[places.weight], normalised: normalised, inverseDeviation: inverseDeviation,
      into: dx)
  }
}
