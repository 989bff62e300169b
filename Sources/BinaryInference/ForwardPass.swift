import CBitKernels

// The encoder on one sequence, without padding: the arithmetic of training's evaluation, with the same kernels in the same
// order, so that the numbers are the same bits. Only the products of the estimators are summed in another order than
// OpenBLAS does.
//
// Legend: T tokens, P of them at a time (`WorkSpace.panel`), H hidden, F intermediate, h heads, D = H/h, r rank.
extension Network {
  private static let epsilon: Float = 1e-12

  /// Runs embeddings and layers over one sequence; its last hidden state stays in `space.state`.
  ///
  /// - Parameters:
  ///   - tokens: T ids, each in the vocabulary.
  ///   - segments: T of 0 and 1, or none for all 0.
  ///   - space: made for T tokens.
  ///   - reached: called with the number of each hidden state (0 are the embeddings) while it is in `space.state`.
  /// - Cost: 12·H² + 2·H·F bit operations a token and layer, and 4·T·H for attention.
  func run(
    _ tokens: [Int32], segments: [Int32], _ space: borrowing WorkSpace, reached: (Int) -> Void = { _ in }
  ) {
    embed(tokens, segments, space)
    reached(0)
    for (index, layer) in layers.enumerated() {
      attend(layer, tokens: tokens.count, space)
      let (count, rows) = (tokens.count * shape.hiddenSize, tokens.count)
      apply(layer.attentionOutput, space.query, rows: rows, into: space.middle, space)
      kernels.pointee.add(space.state, count, space.middle)
      normalise(space.middle, rows: rows, layer.attentionNormalisation, space)
      eachPanel(of: rows) { panel in
        let start = panel.lowerBound * shape.hiddenSize
        apply(layer.intermediate, space.middle + start, rows: panel.count, into: space.activated, space)
        kernels.pointee.gelu(space.activated, panel.count * shape.intermediateSize, space.activated)
        apply(layer.output, space.activated, rows: panel.count, into: space.state + start, space)
      }
      kernels.pointee.add(space.middle, count, space.state)
      normalise(space.state, rows: rows, layer.outputNormalisation, space)
      reached(index + 1)
    }
  }

  private func eachPanel(of rows: Int, _ body: (Range<Int>) -> Void) {
    for first in stride(from: 0, to: rows, by: WorkSpace.panel) {
      body(first..<min(rows, first + WorkSpace.panel))
    }
  }

  /// tanh(LN(binary dense(x₀)) + x₀) of the state that `run` left: H elements.
  func pool(_ space: borrowing WorkSpace, into pooled: UnsafeMutablePointer<Float>) {
    apply(pooler, space.state, rows: 1, into: pooled, space)
    normalise(pooled, rows: 1, poolerNormalisation, space)
    kernels.pointee.add(space.state, shape.hiddenSize, pooled)
    kernels.pointee.tanh(shape.hiddenSize, pooled)
  }

  private func embed(_ tokens: [Int32], _ segments: [Int32], _ space: borrowing WorkSpace) {
    let hidden = shape.hiddenSize
    for (index, token) in tokens.enumerated() {
      let out = space.state + index * hidden
      words.write(Int(token), kernels, to: out)
      let position = positions.floats(index, count: 1, kernels, room: space.row)
      kernels.pointee.add(position, hidden, out)
      let segment = segments.isEmpty ? 0 : Int(segments[index])
      kernels.pointee.add(types + segment * hidden, hidden, out)
    }
    normalise(space.state, rows: tokens.count, embeddingNormalisation, space)
  }

  /// x: rows×I → out: rows×O.
  private func apply(
    _ layer: BinaryLinear, _ x: UnsafeMutablePointer<Float>, rows: Int,
    into out: UnsafeMutablePointer<Float>, _ space: borrowing WorkSpace
  ) {
    let (matrix, words) = (layer.matrix, (layer.matrix.inputs + 63) / 64)
    kernels.pointee.pack(
      x, rows, matrix.inputs, matrix.inputs, layer.shift, layer.step, space.inputBits, nil)
    kernels.pointee.xnor_product(
      space.inputBits, rows, matrix.words, matrix.outputs, words, Int32(matrix.inputs),
      layer.step * matrix.scale, layer.bias, out, matrix.outputs)
  }

  /// Layer normalisation of rows×H in place.
  func normalise(
    _ x: UnsafeMutablePointer<Float>, rows: Int, _ places: Normalisation, _ space: borrowing WorkSpace
  ) {
    kernels.pointee.normalise(
      x, rows, shape.hiddenSize, Self.epsilon, places.weight, places.bias, x, space.deviations, x)
  }

  /// Self-attention of the state, its context into `space.query`.
  private func attend(_ layer: Layer, tokens: Int, _ space: borrowing WorkSpace) {
    apply(layer.query, space.state, rows: tokens, into: space.query, space)
    apply(layer.key, space.state, rows: tokens, into: space.key, space)
    apply(layer.value, space.state, rows: tokens, into: space.value, space)
    for head in 0..<shape.heads { packKeysAndValues(layer, head: head, tokens: tokens, space) }
    if let estimators = layer.estimators { estimate(estimators, tokens: tokens, space) }
    eachPanel(of: tokens) { panel in
      if layer.estimators != nil { estimateScores(of: panel, tokens: tokens, space) }
      for head in 0..<shape.heads { attend(layer, head: head, panel, tokens: tokens, space) }
    }
  }

  /// The bits of one head's keys and transposed values, as the products read them.
  private func packKeysAndValues(_ layer: Layer, head: Int, tokens: Int, _ space: borrowing WorkSpace) {
    let (hidden, width) = (shape.hiddenSize, shape.headSize)
    let (words, tokenWords, start) = ((width + 63) / 64, (tokens + 63) / 64, head * width)
    let keys = space.keyGroups + head * WorkSpace.keyGroupWords(shape, tokens: tokens)
    let values = space.valueGroups + head * WorkSpace.valueGroupWords(shape, tokens: tokens)
    kernels.pointee.pack(
      space.key + start, tokens, width, hidden, nil, layer.keyStep, space.headBits, nil)
    bk_interleave(space.headBits, tokens, words, keys)
    kernels.pointee.pack(
      space.value + start, tokens, width, hidden, nil, layer.valueStep, space.headBits, nil)
    bk_transpose(space.headBits, tokens, width, space.transposedValues)
    bk_interleave(space.transposedValues, width, tokenWords, values)
  }

  /// The five estimates of all tokens, one row each: q_m + q_p, q_p, k_m, k_p (r rows each) and v_p.
  private func estimate(_ estimators: Estimators, tokens: Int, _ space: borrowing WorkSpace) {
    let (rank, hidden) = (shape.estimatorRank, shape.hiddenSize)
    for (map, weight) in estimators.weights.enumerated() {
      let outputs = map < 4 ? rank : 1
      let rows = space.estimates + map * rank * tokens
      kernels.pointee.linear(weight, outputs, hidden, hidden, space.state, tokens, nil, rows, tokens)
      for output in 0..<outputs {
        let bias = estimators.biases[map][output]
        for token in 0..<tokens { rows[output * tokens + token] += bias }
      }
    }
    kernels.pointee.add(space.estimates + rank * tokens, rank * tokens, space.estimates)
  }

  /// S_est = (q_m + q_p) k_pᵀ + q_p k_mᵀ of some tokens: P×T.
  private func estimateScores(of panel: Range<Int>, tokens: Int, _ space: borrowing WorkSpace) {
    let (rank, first) = (shape.estimatorRank, panel.lowerBound)
    let part = rank * tokens
    kernels.pointee.transposed_product(
      space.estimates + first, tokens, space.estimates + 3 * part, tokens, rank, panel.count, tokens, false,
      space.estimatedScores, tokens)
    kernels.pointee.transposed_product(
      space.estimates + part + first, tokens, space.estimates + 2 * part, tokens, rank, panel.count, tokens,
      true, space.estimatedScores, tokens)
  }

  /// One head of some tokens: their context takes the place of their queries.
  private func attend(
    _ layer: Layer, head: Int, _ panel: Range<Int>, tokens: Int, _ space: borrowing WorkSpace
  ) {
    let (hidden, width, rows) = (shape.hiddenSize, shape.headSize, panel.count)
    let (words, tokenWords) = ((width + 63) / 64, (tokens + 63) / 64)
    let own = space.query + panel.lowerBound * hidden + head * width
    let keys = space.keyGroups + head * WorkSpace.keyGroupWords(shape, tokens: tokens)
    let values = space.valueGroups + head * WorkSpace.valueGroupWords(shape, tokens: tokens)
    kernels.pointee.pack(own, rows, width, hidden, nil, layer.queryStep, space.headBits, nil)
    kernels.pointee.xnor_product(
      space.headBits, rows, keys, tokens, words, Int32(width), layer.queryStep * layer.keyStep, nil,
      space.scores, tokens)
    kernels.pointee.softmax(
      space.scores, layer.estimators == nil ? nil : space.estimatedScores, rows, tokens, tokens,
      1 / Float(width).squareRoot())
    kernels.pointee.binarise_probabilities(
      space.scores, nil, 1, rows, tokens, layer.probabilityStep, space.probabilityBits)
    var rowBias: UnsafePointer<Float>?
    if layer.estimators != nil {
      bk_sum_set_elements(
        space.probabilityBits, rows, tokenWords, space.estimates + 4 * shape.estimatorRank * tokens,
        layer.probabilityStep, space.rowBias)
      rowBias = UnsafePointer(space.rowBias)
    }
    kernels.pointee.and_product(
      space.probabilityBits, rows, values, width, tokenWords, layer.probabilityStep * layer.valueStep,
      rowBias, own, hidden)
  }
}
