import Kernels
import Parameters

struct PoolerPlaces: Sendable {
  let dense: EncoderLinearPlaces
  /// nil in a BERT of full precision.
  let normalisation: NormalisationPlaces?

  /// Adds the tensors of the pooler, whose names begin with `prefix`, to a layout.
  init(_ prefix: String, _ c: ModelConfiguration, in layout: inout LayoutBuilder) {
    dense = EncoderLinearPlaces(
      prefix + "dense", outputs: c.hiddenSize, inputs: c.hiddenSize, c, in: &layout)
    normalisation =
      c.precision == .full
      ? nil : NormalisationPlaces(prefix + "LayerNorm", width: c.hiddenSize, in: &layout)
  }
}

/// pooled = tanh(LN(dense(x₀)) + x₀), x₀ the first token of each sequence; at full precision BERT's own, tanh(dense(x₀)).
///
/// Legend: B sequences, T tokens, H hidden.
struct Pooler {
  let dense: EncoderLinear
  let normalisation: LayerNormalisation?
  let length: Int
  /// B×H
  let first: MatrixView
  let pooled: MatrixView

  init(_ places: PoolerPlaces, sequences: Int, length: Int, hidden: Int, in arena: inout Arena) {
    self.length = length
    dense = EncoderLinear(places.dense, rows: sequences, in: &arena)
    normalisation = places.normalisation.map { LayerNormalisation($0, rows: sequences, in: &arena) }
    first = MatrixView(arena.floats(sequences * hidden), rows: sequences, columns: hidden)
    pooled = MatrixView(arena.floats(sequences * hidden), rows: sequences, columns: hidden)
  }

  /// x: (B·T)×H → `pooled`.
  func forward(_ x: MatrixView, _ pass: Pass) {
    for b in 0..<first.rows {
      (first.base + b * first.stride).update(from: x.base + b * length * x.stride, count: x.columns)
    }
    dense.forward(first, pass, into: pooled)
    if let normalisation {
      normalisation.forward(pooled, parameters: pass.parameters, into: pooled.dense)
      pooled.dense.add(first.dense)
    }
    pooled.dense.tanh()
  }

  /// d: B×H, the gradient to `pooled`, is used up; adds to dx: (B·T)×H.
  func backward(_ d: MatrixView, _ pass: BackwardPass, addingTo dx: MatrixView) {
    d.dense.tanhBackward(pooled.dense)
    let dFirst = first.dense  // x₀ itself is no longer needed
    if let normalisation {
      dFirst.copy(from: d.dense)
      normalisation.backward(d, parameters: pass.parameters, gradients: pass.gradients, into: d.dense)
    }
    dense.backward(d, pass, add: normalisation != nil, dx: first)
    for b in 0..<first.rows {
      FloatView(base: dx.base + b * length * dx.stride, count: dx.columns)
        .addSerial(dFirst[b * first.stride..<(b + 1) * first.stride])
    }
  }
}
