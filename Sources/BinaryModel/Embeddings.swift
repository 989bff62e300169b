import Kernels

/// Binarised word + position + type embeddings, layer normalisation, dropout (METHOD, "The network").
///
/// Legend: B sequences, T tokens, N = B·T, H hidden. A word's row is m·sign(w − mean), m = mean|w| of that row, the
/// mean over the whole table.
struct Embeddings {
  let places: ModelPlaces
  let normalisation: LayerNormalisation
  let dropout: OutputDropout
  let length: Int
  let hidden: Int

  init(_ places: ModelPlaces, sequences: Int, length: Int, hidden: Int, in arena: inout Arena) {
    self.places = places
    self.length = length
    self.hidden = hidden
    normalisation = LayerNormalisation(places.embeddingNormalisation, rows: sequences * length, in: &arena)
    dropout = OutputDropout(place: 0, sequences: sequences, length: length, width: hidden, in: &arena)
  }

  /// Writes x: N×H.
  func forward(
    batch: Batch, mode: ForwardMode, parameters: FloatView, weights: borrowing PackedWeights,
    into x: FloatView
  ) {
    let mean = weights.tableMean
    let words = parameters[places.wordEmbeddings]
    let positions = parameters[places.positionEmbeddings]
    let types = parameters[places.tokenTypeEmbeddings]
    parallelPanels(batch.sequences * length, 64) { range, _ in
      for token in range {
        let out = x.base + token * hidden
        let word = words[row(Int(batch.inputIDs[token]))]
        let magnitude = Float(word.sumOfAbsolutes() / Double(hidden))
        let position = positions[row(token % length)]
        let type = types[row(Int(batch.tokenTypeIDs[token]))]
        for j in 0..<hidden {
          let binary = word.base[j] - mean >= 0 ? magnitude : -magnitude
          out[j] = binary + position.base[j] + type.base[j]
        }
      }
    }
    normalisation.forward(
      MatrixView(x, rows: batch.sequences * length, columns: hidden), parameters: parameters, into: x)
    dropout.forward(x, batch: batch, dropout: mode.dropout)
  }

  /// d: N×H, the gradient to x, is used up; gradients are added to the rows used (identity through the binarisation).
  func backward(_ d: FloatView, batch: Batch, mode: ForwardMode, parameters: FloatView, gradients: FloatView)
  {
    dropout.backward(d, dropout: mode.dropout)
    normalisation.backward(
      MatrixView(d, rows: batch.sequences * length, columns: hidden), parameters: parameters,
      gradients: gradients,
      into: d)
    let words = gradients[places.wordEmbeddings]
    let positions = gradients[places.positionEmbeddings]
    let types = gradients[places.tokenTypeEmbeddings]
    // Rows may repeat, so threads share columns out, each adding the tokens in their order.
    parallelPanels(hidden, 64) { columns, _ in
      for token in 0..<batch.sequences * length {
        let part = d[token * hidden + columns.lowerBound..<token * hidden + columns.upperBound]
        for (table, index) in [
          (words, Int(batch.inputIDs[token])), (positions, token % length),
          (types, Int(batch.tokenTypeIDs[token])),
        ] {
          let start = index * hidden
          table[start + columns.lowerBound..<start + columns.upperBound].addSerial(part)
        }
      }
    }
  }

  private func row(_ index: Int) -> Range<Int> { index * hidden..<(index + 1) * hidden }
}
