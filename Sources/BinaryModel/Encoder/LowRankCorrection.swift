import Kernels
import Parameters

/// Where the two maps of a low-rank correction lie in the flat buffers, both without bias. Legend: O outputs, I inputs, r rank.
struct CorrectionPlaces: Sendable {
  let rank: Int
  let inputs: Int
  let outputs: Int
  let down: Range<Int>  // r×I
  let up: Range<Int>  // O×r

  /// Adds the tensors of the correction called `name` to a layout, as the authors' release calls them; nil at rank 0.
  init?(_ name: String, outputs: Int, inputs: Int, rank: Int, in layout: inout LayoutBuilder) {
    if rank == 0 { return nil }
    self.rank = rank
    self.inputs = inputs
    self.outputs = outputs
    down = layout.add(name + ".lora.0.weight", [rank, inputs], initial: .normal).range
    up = layout.add(name + ".lora.1.weight", [outputs, rank], initial: .normal).range
  }
}

/// A low-rank correction of a binary linear layer, of the real-valued input of that layer: y += (x Aᵀ) Bᵀ (the authors'
/// improve_linear; METHOD, "Attention with residual estimators").
///
/// Legend: N rows (tokens), I inputs, O outputs, r rank.
struct LowRankCorrection {
  let places: CorrectionPlaces
  /// N×r: x Aᵀ, and its gradient.
  private let low: MatrixView
  private let lowGradient: MatrixView

  init(_ places: CorrectionPlaces, rows: Int, in arena: inout Arena) {
    self.places = places
    low = MatrixView(arena.floats(rows * places.rank), rows: rows, columns: places.rank)
    lowGradient = MatrixView(arena.floats(rows * places.rank), rows: rows, columns: places.rank)
  }

  /// A: r×I and B: O×r of a flat buffer.
  private func down(_ buffer: FloatView) -> MatrixView {
    MatrixView(buffer[places.down], rows: places.rank, columns: places.inputs)
  }
  private func up(_ buffer: FloatView) -> MatrixView {
    MatrixView(buffer[places.up], rows: places.outputs, columns: places.rank)
  }

  /// x: N×I; adds to y: N×O.
  ///
  /// - Cost: 2·N·r·(I + O) operations.
  func forward(_ x: MatrixView, parameters: FloatView, addingTo y: MatrixView) {
    denseProduct(.plain(x), .transposed(down(parameters)), into: low)
    denseProduct(.plain(low), .transposed(up(parameters)), accumulate: true, into: y)
  }

  /// dy: N×O, x: N×I; adds to dx: N×I and to the parameters' gradients.
  ///
  /// - Cost: 4·N·r·(I + O) operations.
  func backward(
    _ dy: MatrixView, x: MatrixView, parameters: FloatView, gradients: FloatView, addingTo dx: MatrixView
  ) {
    denseProduct(.transposed(dy), .plain(low), accumulate: true, into: up(gradients))
    denseProduct(.plain(dy), .plain(up(parameters)), into: lowGradient)
    denseProduct(.transposed(lowGradient), .plain(x), accumulate: true, into: down(gradients))
    denseProduct(.plain(lowGradient), .plain(down(parameters)), accumulate: true, into: dx)
  }
}
