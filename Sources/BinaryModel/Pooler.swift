import Kernels

/// pooled = tanh(LN(binary dense(x₀)) + x₀), x₀ the first token of each sequence. Legend: B sequences, T tokens, H hidden.
struct Pooler {
  let dense: BinaryLinear
  let normalisation: LayerNormalisation
  let length: Int
  /// B×H
  let first: MatrixView
  let pooled: MatrixView

  init(_ places: ModelPlaces, sequences: Int, length: Int, hidden: Int, in arena: inout Arena) {
    self.length = length
    dense = BinaryLinear(places.pooler, rows: sequences, in: &arena)
    normalisation = LayerNormalisation(places.poolerNormalisation, rows: sequences, in: &arena)
    first = MatrixView(arena.floats(sequences * hidden), rows: sequences, columns: hidden)
    pooled = MatrixView(arena.floats(sequences * hidden), rows: sequences, columns: hidden)
  }

  /// x: (B·T)×H → `pooled`.
  func forward(_ x: MatrixView, parameters: FloatView, weights: borrowing PackedWeights, fit: StepSizeFit?) {
    for b in 0..<first.rows {
      (first.base + b * first.stride).update(from: x.base + b * length * x.stride, count: x.columns)
    }
    dense.forward(first, parameters: parameters, weights: weights, fit: fit, into: pooled)
    normalisation.forward(pooled, parameters: parameters, into: pooled.dense)
    pooled.dense.add(first.dense)
    pooled.dense.tanh()
  }

  /// d: B×H, the gradient to `pooled`, is used up; adds to dx: (B·T)×H.
  func backward(
    _ d: MatrixView, parameters: FloatView, weights: borrowing PackedWeights, gradients: FloatView,
    scratch: BackwardScratch, addingTo dx: MatrixView
  ) {
    d.dense.tanhBackward(pooled.dense)
    let dFirst = first.dense  // x₀ itself is no longer needed
    dFirst.copy(from: d.dense)
    normalisation.backward(d, parameters: parameters, gradients: gradients, into: d.dense)
    dense.backward(
      d, parameters: parameters, weights: weights, gradients: gradients, add: true, dx: first,
      scratch: scratch)
    for b in 0..<first.rows {
      FloatView(base: dx.base + b * length * dx.stride, count: dx.columns)
        .addSerial(dFirst[b * first.stride..<(b + 1) * first.stride])
    }
  }
}
