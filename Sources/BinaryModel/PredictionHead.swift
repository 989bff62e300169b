import Kernels

/// The masked-language-model head, on the tokens to predict only: logits = LN(ReLU(dense x)) Eᵀ + bias, E the latent
/// word embedding (METHOD, "The network").
///
/// Legend: M tokens to predict, H hidden, V vocabulary.
struct PredictionHead {
  /// Tokens whose logits are held at once: fixed, so that sums over tokens keep their order.
  static let block = 128
  let places: ModelPlaces
  let normalisation: LayerNormalisation
  let hidden: Int
  let vocabularySize: Int
  /// M×H: the final hidden states of the tokens to predict, their transform, its gradient, and the rectified values.
  let gathered: FloatView
  let transformed: FloatView
  let gradient: FloatView
  let rectified: FloatView
  /// block×V
  let logits: FloatView

  init(_ places: ModelPlaces, configuration c: ModelConfiguration, rows: Int, in arena: inout Arena) {
    self.places = places
    hidden = c.hiddenSize
    vocabularySize = c.vocabularySize
    normalisation = LayerNormalisation(places.predictionNormalisation, rows: rows, in: &arena)
    gathered = arena.floats(rows * hidden)
    transformed = arena.floats(rows * hidden)
    gradient = arena.floats(rows * hidden)
    rectified = arena.floats(rows * hidden)
    logits = arena.floats(min(rows, Self.block) * vocabularySize)
  }

  private func matrix(_ view: FloatView, _ rows: Range<Int>) -> MatrixView {
    MatrixView(view[rows.lowerBound * hidden..<rows.upperBound * hidden], rows: rows.count, columns: hidden)
  }
  private func embeddings(_ buffer: FloatView) -> MatrixView {
    MatrixView(buffer[places.wordEmbeddings], rows: vocabularySize, columns: hidden)
  }

  /// The transform of `count` gathered rows.
  private func transform(_ count: Int, parameters: FloatView) {
    let all = matrix(rectified, 0..<count)
    Linear.forward(matrix(gathered, 0..<count), places.predictionTransform, parameters: parameters, into: all)
    let used = rectified[0..<count * hidden]
    used.rectify()
    normalisation.forward(all, parameters: parameters, into: transformed)
  }

  private func computeLogits(_ rows: Range<Int>, parameters: FloatView) -> MatrixView {
    let out = MatrixView(logits, rows: rows.count, columns: vocabularySize)
    denseProduct(.plain(matrix(transformed, rows)), .transposed(embeddings(parameters)), into: out)
    out.addToRows(parameters[places.predictionBias])
    return out
  }

  private func gather(_ x: MatrixView, _ tokens: [Int]) {
    for (i, token) in tokens.enumerated() {
      (gathered.base + i * hidden).update(from: x.base + token * x.stride, count: hidden)
    }
  }

  /// Losses of the tokens to predict; with `gradients`, also backward: adds to them and to dx.
  ///
  /// - Parameters:
  ///   - x: N×H, the last hidden states.
  ///   - divisor: the global number of tokens to predict.
  ///   - dx: N×H.
  /// - Cost: 2·M·V·H operations forward, 4·M·V·H backward.
  func losses(
    _ x: MatrixView, batch: Batch, divisor: Int, parameters: FloatView, gradients: FloatView?,
    addingTo dx: MatrixView?
  ) -> LossSums {
    var sums = LossSums()
    let tokens = batch.labels.indices.filter { batch.labels[$0] >= 0 }
    sums.maskedTokens = tokens.count
    guard !tokens.isEmpty else { return sums }
    gather(x, tokens)
    transform(tokens.count, parameters: parameters)
    let factor = 1 / Float(divisor)
    for start in stride(from: 0, to: tokens.count, by: Self.block) {
      let rows = start..<min(tokens.count, start + Self.block)
      let logits = computeLogits(rows, parameters: parameters)
      let results = rowLosses(logits, labels: rows.map { Int(batch.labels[tokens[$0]]) }, factor: factor)
      for (row, result) in results.enumerated() {
        sums.mlm += result.loss
        if result.best == Int(batch.labels[tokens[rows.lowerBound + row]]) { sums.mlmCorrect += 1 }
      }
      if let gradients {
        logits.addColumnSums(to: gradients[places.predictionBias])
        denseProduct(
          .transposed(logits), .plain(matrix(transformed, rows)), accumulate: true,
          into: embeddings(gradients))
        denseProduct(.plain(logits), .plain(embeddings(parameters)), into: matrix(gradient, rows))
      }
    }
    if let gradients, let dx {
      backward(tokens, parameters: parameters, gradients: gradients, addingTo: dx)
    }
    return sums
  }

  private func rowLosses(_ logits: MatrixView, labels: [Int], factor: Float) -> [(loss: Double, best: Int)] {
    var results = [(loss: Double, best: Int)](repeating: (0, 0), count: logits.rows)
    results.withUnsafeMutableBufferPointer { out in
      let out = out.baseAddress!
      parallelFor(logits.rows) { row, _ in
        let view = FloatView(base: logits.base + row * logits.stride, count: logits.columns)
        out[row] = crossEntropy(view, label: labels[row], factor: factor)
      }
    }
    return results
  }

  private func backward(_ tokens: [Int], parameters: FloatView, gradients: FloatView, addingTo dx: MatrixView)
  {
    let count = tokens.count
    let d = matrix(gradient, 0..<count)
    normalisation.backward(d, parameters: parameters, gradients: gradients, into: gradient)
    gradient[0..<count * hidden].rectifyBackward(rectified[0..<count * hidden])
    // The transform is no longer needed: its memory takes the gradient to the gathered rows.
    let dGathered = matrix(transformed, 0..<count)
    transformed[0..<count * hidden].fill(0)
    Linear.backward(
      d, x: matrix(gathered, 0..<count), places.predictionTransform, parameters: parameters,
      gradients: gradients,
      addingTo: dGathered)
    for (i, token) in tokens.enumerated() {
      FloatView(base: dx.base + token * dx.stride, count: hidden)
        .addSerial(transformed[i * hidden..<(i + 1) * hidden])
    }
  }

  /// The logits of one token of x, for inspection: V elements, overwritten by the next call.
  func logits(_ x: MatrixView, token: Int, parameters: FloatView) -> FloatView {
    gather(x, [token])
    transform(1, parameters: parameters)
    _ = computeLogits(0..<1, parameters: parameters)
    return logits[0..<vocabularySize]
  }
}
