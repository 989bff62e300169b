import Kernels
import Parameters

struct PredictionPlaces: Sendable {
  let bias: Range<Int>  // V
  let transform: LinearPlaces
  let normalisation: NormalisationPlaces
  /// V×H: the word embedding, which the decoder shares with the encoder.
  let words: Range<Int>

  /// Adds the tensors of the head, whose names begin with `prefix`, to a layout behind the encoder's.
  init(
    _ prefix: String, _ c: ModelConfiguration, words: Range<Int>, in layout: inout LayoutBuilder
  ) {
    bias = layout.add(prefix + "bias", [c.vocabularySize], initial: .zero).range
    transform = LinearPlaces(
      prefix + "transform.dense", outputs: c.hiddenSize, inputs: c.hiddenSize, in: &layout)
    normalisation = NormalisationPlaces(prefix + "transform.LayerNorm", width: c.hiddenSize, in: &layout)
    self.words = words
  }
}

/// The masked-language-model head, on the tokens to predict only: logits = LN(ReLU(dense x)) Eᵀ + bias, E the latent
/// word embedding (METHOD, "The network").
///
/// Legend: M tokens to predict, H hidden, V vocabulary.
struct PredictionHead {
  /// Tokens whose logits are held at once: fixed, so that sums over tokens keep their order.
  static let block = 192
  let places: PredictionPlaces
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
  /// N: the numbers of the tokens to predict.
  let tokens: UnsafeMutablePointer<Int>
  /// block: the loss of each row of logits, and its likeliest word.
  let rowLosses: UnsafeMutablePointer<Double>
  let likeliest: UnsafeMutablePointer<Int>
  /// Where gradients are rounded: the decoder's backward in bfloat16.
  let decoderBackward: Bfloat16Backward?
  /// Where they are not.
  let panels: ProductPanels

  init(_ places: PredictionPlaces, _ shape: HeadShape, in arena: inout Arena) {
    let (c, rows) = (shape.configuration, shape.sequences * shape.length)
    self.places = places
    hidden = c.hiddenSize
    vocabularySize = c.vocabularySize
    normalisation = LayerNormalisation(places.normalisation, rows: rows, in: &arena)
    gathered = arena.floats(rows * hidden)
    transformed = arena.floats(rows * hidden)
    gradient = arena.floats(rows * hidden)
    rectified = arena.floats(rows * hidden)
    logits = arena.floats(min(rows, Self.block) * vocabularySize)
    tokens = arena.elements(rows, of: Int.self)
    rowLosses = arena.elements(min(rows, Self.block), of: Double.self)
    likeliest = arena.elements(min(rows, Self.block), of: Int.self)
    panels = ProductPanels(
      shape.backwardPrecision == .float32 ? [(c.vocabularySize, c.hiddenSize)] : [], in: &arena)
    decoderBackward =
      shape.backwardPrecision == .float32
      ? nil
      : Bfloat16Backward(
        rows: min(rows, Self.block), outputs: c.vocabularySize, inputs: c.hiddenSize, in: &arena)
  }

  private func matrix(_ view: FloatView, _ rows: Range<Int>) -> MatrixView {
    MatrixView(view[rows.lowerBound * hidden..<rows.upperBound * hidden], rows: rows.count, columns: hidden)
  }
  private func embeddings(_ buffer: FloatView) -> MatrixView {
    MatrixView(buffer[places.words], rows: vocabularySize, columns: hidden)
  }

  /// The transform of `count` gathered rows.
  private func transform(_ count: Int, parameters: FloatView, order: SumOrder) {
    let all = matrix(rectified, 0..<count)
    places.transform.forward(matrix(gathered, 0..<count), parameters: parameters, order: order, into: all)
    let used = rectified[0..<count * hidden]
    used.rectify()
    normalisation.forward(all, parameters: parameters, into: transformed)
  }

  private func computeLogits(_ rows: Range<Int>, parameters: FloatView, order: SumOrder) -> MatrixView {
    let out = MatrixView(logits, rows: rows.count, columns: vocabularySize)
    let (x, words) = (matrix(transformed, rows), embeddings(parameters))
    switch order {
    case .training:
      denseProduct(.plain(x), .transposed(words), into: out)
      out.addToRows(parameters[places.bias])
    case .fixed: fixedOrderLinear(x, words, bias: parameters[places.bias], into: out)
    }
    return out
  }

  /// Copies the rows of x that `tokens` names first.
  private func gather(_ x: MatrixView, count: Int) {
    for i in 0..<count {
      (gathered.base + i * hidden).update(from: x.base + tokens[i] * x.stride, count: hidden)
    }
  }

  /// Losses of the tokens to predict; with `gradients` also backward.
  ///
  /// - Parameters:
  ///   - x: N×H, the last hidden states.
  ///   - labels: N, negative where there is nothing to predict.
  ///   - divisor: the global number of tokens to predict.
  /// - Cost: 2·M·V·H operations forward, 4·M·V·H backward.
  func losses(
    _ x: MatrixView, labels: [Int32], divisor: Int, parameters: FloatView, gradients: HeadGradients?,
    into terms: inout LossTerms
  ) {
    var (loss, correct, count) = (0.0, 0, 0)
    for token in labels.indices where labels[token] >= 0 {
      tokens[count] = token
      count += 1
    }
    guard count > 0 else { return }
    let order: SumOrder = gradients == nil ? .fixed : .training
    gather(x, count: count)
    transform(count, parameters: parameters, order: order)
    let factor = 1 / Float(divisor)
    for start in stride(from: 0, to: count, by: Self.block) {
      let rows = start..<min(count, start + Self.block)
      let logits = computeLogits(rows, parameters: parameters, order: order)
      parallelFor(rows.count) { row, _ in
        let result = crossEntropy(
          FloatView(base: logits.base + row * logits.stride, count: logits.columns),
          label: Int(labels[tokens[start + row]]), factor: factor)
        rowLosses[row] = result.loss
        likeliest[row] = result.best
      }
      for row in 0..<rows.count {
        loss += rowLosses[row]
        if likeliest[row] == Int(labels[tokens[start + row]]) { correct += 1 }
      }
      if let gradients {
        logits.addColumnSums(to: gradients.parameters[places.bias])
        backwardDecoder(logits, rows, parameters: parameters, gradients: gradients)
      }
    }
    terms.add("mlm_loss", sum: loss, count: count)
    terms.add("mlm_accuracy", sum: Double(correct), count: count)
    if let gradients {
      backward(
        count: count, parameters: parameters, gradients: gradients.parameters, addingTo: gradients.lastHidden)
    }
  }

  /// From the gradient of some tokens' logits to those of E (added to) and of their transform (written).
  private func backwardDecoder(
    _ d: MatrixView, _ rows: Range<Int>, parameters: FloatView, gradients: HeadGradients
  ) {
    let (x, dx) = (matrix(transformed, rows), matrix(gradient, rows))
    let words =
      gradients.words.map { MatrixGradient.blocks($0, start: places.words.lowerBound) }
      ?? .view(embeddings(gradients.parameters))
    if let decoderBackward {
      decoderBackward.run(d, x: x, w: embeddings(parameters), dw: words, dx: dx)
    } else {
      addDenseProduct(.transposed(d), .plain(x), to: words, through: panels)
      denseProduct(.plain(d), .plain(embeddings(parameters)), into: dx)
    }
    words.note()
  }

  private func backward(count: Int, parameters: FloatView, gradients: FloatView, addingTo dx: MatrixView) {
    let d = matrix(gradient, 0..<count)
    normalisation.backward(d, parameters: parameters, gradients: gradients, into: gradient)
    gradient[0..<count * hidden].rectifyBackward(rectified[0..<count * hidden])
    // The transform is no longer needed: its memory takes the gradient to the gathered rows.
    let dGathered = matrix(transformed, 0..<count)
    transformed[0..<count * hidden].fill(0)
    places.transform.backward(
      d, x: matrix(gathered, 0..<count), parameters: parameters, gradients: gradients, addingTo: dGathered)
    for i in 0..<count {
      FloatView(base: dx.base + tokens[i] * dx.stride, count: hidden)
        .addSerial(transformed[i * hidden..<(i + 1) * hidden])
    }
  }

  /// The logits of one token of x, for inspection: V elements, overwritten by the next call.
  func logits(_ x: MatrixView, token: Int, parameters: FloatView) -> FloatView {
    tokens[0] = token
    gather(x, count: 1)
    transform(1, parameters: parameters, order: .fixed)
    _ = computeLogits(0..<1, parameters: parameters, order: .fixed)
    return logits[0..<vocabularySize]
  }
}
