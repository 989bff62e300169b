import Kernels
import Parameters

struct PoolerPlaces: Sendable {
  let dense: BinaryLinearPlaces
  let normalisation: NormalisationPlaces

  /// Adds the tensors of the pooler, whose names begin with `prefix`, to a layout.
  init(_ prefix: String, hidden: Int, in layout: inout LayoutBuilder) {
    dense = BinaryLinearPlaces(prefix + "dense", outputs: hidden, inputs: hidden, in: &layout)
    normalisation = NormalisationPlaces(prefix + "LayerNorm", width: hidden, in: &layout)
  }
}

/// pooled = tanh(LN(binary dense(x₀)) + x₀), x₀ the first token of each sequence. Legend: B sequences, T tokens, H hidden.
struct Pooler {
  let dense: BinaryLinear
  let normalisation: LayerNormalisation
  let length: Int
  /// B×H
  let first: MatrixView
  let pooled: MatrixView

  init(_ places: PoolerPlaces, sequences: Int, length: Int, hidden: Int, in arena: inout Arena) {
    self.length = length
    dense = BinaryLinear(places.dense, rows: sequences, in: &arena)
    normalisation = LayerNormalisation(places.normalisation, rows: sequences, in: &arena)
    first = MatrixView(arena.floats(sequences * hidden), rows: sequences, columns: hidden)
    pooled = MatrixView(arena.floats(sequences * hidden), rows: sequences, columns: hidden)
  }

  /// x: (B·T)×H → `pooled`.
  func forward(_ x: MatrixView, _ pass: Pass) {
    for b in 0..<first.rows {
      (first.base + b * first.stride).update(from: x.base + b * length * x.stride, count: x.columns)
    }
    dense.forward(first, pass, into: pooled)
    normalisation.forward(pooled, parameters: pass.parameters, into: pooled.dense)
    pooled.dense.add(first.dense)
    pooled.dense.tanh()
  }

  /// d: B×H, the gradient to `pooled`, is used up; adds to dx: (B·T)×H.
  func backward(_ d: MatrixView, _ pass: BackwardPass, addingTo dx: MatrixView) {
    d.dense.tanhBackward(pooled.dense)
    let dFirst = first.dense  // x₀ itself is no longer needed
    dFirst.copy(from: d.dense)
    normalisation.backward(d, parameters: pass.parameters, gradients: pass.gradients, into: d.dense)
    dense.backward(d, pass, add: true, dx: first)
    for b in 0..<first.rows {
      FloatView(base: dx.base + b * length * dx.stride, count: dx.columns)
        .addSerial(dFirst[b * first.stride..<(b + 1) * first.stride])
    }
  }
}
