import CBitKernels

// The encoder on one sequence, without padding: the arithmetic of training's evaluation in its order, so that the numbers are
// the same bits. Queries, keys, values, what gelu gives and the context leave their products as bits. Only the products of the
// estimators are summed in another order than in training.
//
// Legend: T tokens, P of them at a time (`WorkSpace.panel`), H hidden, F intermediate, h heads, D = H/h, r rank, R = 4r + 1.
extension Network {
  private static let epsilon: Float = 1e-12

  /// Runs embeddings and layers over one sequence; its last hidden state stays in `space.state`.
  ///
  /// - Parameters:
  ///   - tokens: T ids, each in the vocabulary.
  ///   - segments: T of 0 and 1, or none for all 0.
  ///   - wanted: the positions, ascending, whose last hidden states alone are computed: row i of the state is then that of
  ///     wanted[i]; nil for all.
  ///   - space: made for T tokens or more.
  ///   - reached: called with the number of each hidden state (0 are the embeddings) while it is in `space.state`.
  /// - Cost: 8·H² + 4·H·F bit operations a token and layer, and 4·T·H for attention; the last layer's less 4·H² a token that
  ///   is not wanted.
  func run(
    _ tokens: Span<Int32>, segments: Span<Int32>, wanted: [Int]? = nil, _ space: borrowing WorkSpace,
    reached: (Int) -> Void = { _ in }
  ) {
    embed(tokens, segments, space)
    reached(0)
    for (index, block) in blocks.enumerated() {
      let own = index + 1 == blocks.count ? wanted : nil
      switch block {
      case .signs(let layer): advance(layer, tokens: tokens.count, wanted: own, space)
      case .levels(let layer): advance(layer, tokens: tokens.count, wanted: own, space)
      }
      reached(index + 1)
    }
  }

  func eachPanel(of rows: Int, _ body: (Range<Int>) -> Void) {
    for first in stride(from: 0, to: rows, by: WorkSpace.panel) {
      body(first..<min(rows, first + WorkSpace.panel))
    }
  }

  /// tanh(LN(binary dense(x₀)) + x₀) of the first row of the state that `run` left: H elements.
  func pool(_ space: borrowing WorkSpace, into pooled: UnsafeMutablePointer<Float>) {
    let table = kernels.pointee
    apply(pooler, space.state, rows: 1, into: pooled, space)
    normalise(pooled, rows: 1, poolerNormalisation, into: pooled, space)
    table.add(space.state, shape.hiddenSize, pooled)
    table.tanh(shape.hiddenSize, pooled)
  }

  /// The sum of the first `tokens` rows of the state that `run` left: H elements.
  func sum(_ tokens: Int, _ space: borrowing WorkSpace, into sums: UnsafeMutablePointer<Float>) {
    let width = shape.hiddenSize
    sums.update(repeating: 0, count: width)
    kernels.pointee.add_column_sums(space.state, tokens, width, 0, width, sums)
  }

  private func embed(_ tokens: Span<Int32>, _ segments: Span<Int32>, _ space: borrowing WorkSpace) {
    let hidden = shape.hiddenSize
    for index in tokens.indices {
      let out = space.state + index * hidden
      words.write(Int(tokens[index]), kernels, to: out)
      let position = positions.floats(index, count: 1, kernels, room: space.middle)
      kernels.pointee.add(position, hidden, out)
      let segment = segments.isEmpty ? 0 : Int(segments[index])
      kernels.pointee.add(types + segment * hidden, hidden, out)
      normalise(out, rows: 1, embeddingNormalisation, into: out, space)
    }
  }

  /// One block, from and to `space.state`.
  private func advance(_ layer: Layer, tokens: Int, wanted: [Int]?, _ space: borrowing WorkSpace) {
    let hidden = shape.hiddenSize
    packKeysAndValues(layer, tokens: tokens, space)
    if let estimators = layer.estimators { estimate(estimators, tokens: tokens, space) }
    if let wanted { gather(wanted, tokens: tokens, space) }
    eachPanel(of: wanted?.count ?? tokens) { panel in
      let state = space.state + panel.lowerBound * hidden
      attend(layer, panel, tokens: tokens, space)
      add(layer.attentionOutput, space.contextBits, rows: panel.count, to: state)
      normalise(state, rows: panel.count, layer.attentionNormalisation, into: space.middle, space)
      bits(layer.intermediate, space.middle, rows: panel.count, into: space.innerBits, space)
      add(layer.output, space.innerBits, rows: panel.count, to: space.middle)
      normalise(space.middle, rows: panel.count, layer.outputNormalisation, into: state, space)
    }
  }

  // MARK: Linear layers

  /// x: rows×I → packed rows of O bits.
  private func bits(
    _ layer: BitLinear, _ x: UnsafePointer<Float>, rows: Int, into out: UnsafeMutablePointer<UInt64>,
    _ space: borrowing WorkSpace
  ) {
    let (matrix, thresholds) = (layer.matrix, layer.thresholds)
    kernels.pointee.pack(x, rows, matrix.inputs, matrix.inputs, layer.shift, 0, space.inputBits, nil)
    kernels.pointee.xnor_bits(
      space.inputBits, rows, matrix.words, matrix.outputs, matrix.inputWords, thresholds.low,
      thresholds.high, out)
    for exception in thresholds.exceptions {
      let (output, outWords) = (Int(exception.output), (matrix.outputs + 63) / 64)
      for row in 0..<rows where matrix.count(space.inputBits, row: row, output: output) == exception.count {
        out[row * outWords + output / 64] ^= 1 << UInt64(output % 64)
      }
    }
  }

  /// y += the layer's output for packed rows of I bits; y: rows×O.
  private func add(
    _ layer: BinaryLinear, _ input: UnsafePointer<UInt64>, rows: Int, to y: UnsafeMutablePointer<Float>
  ) {
    let matrix = layer.matrix
    kernels.pointee.xnor_add_product(
      input, rows, matrix.words, matrix.outputs, matrix.inputWords, Int32(matrix.inputs),
      layer.step * matrix.scale, layer.bias, y, matrix.outputs)
  }

  /// Layer normalisation of rows×H; y may be x.
  func normalise(
    _ x: UnsafePointer<Float>, rows: Int, _ places: Normalisation, into y: UnsafeMutablePointer<Float>,
    _ space: borrowing WorkSpace
  ) {
    kernels.pointee.normalise(
      x, rows, shape.hiddenSize, Self.epsilon, places.weight, places.bias, y, space.deviations, y)
  }

  // MARK: Attention

  /// The bits of all heads' keys and transposed values, as the products read them.
  private func packKeysAndValues(_ layer: Layer, tokens: Int, _ space: borrowing WorkSpace) {
    let width = shape.headSize
    let (words, tokenWords) = ((width + 63) / 64, (tokens + 63) / 64)
    project(layer.key, tokens: tokens, space)
    for head in 0..<shape.heads {
      cut(space.rowBits, rows: tokens, head: head, space)
      bk_interleave(space.headBits, tokens, words, space.keys(shape, head: head, tokens: tokens))
    }
    project(layer.value, tokens: tokens, space)
    for head in 0..<shape.heads {
      cut(space.rowBits, rows: tokens, head: head, space)
      bk_transpose(space.headBits, tokens, width, space.transposedValues)
      bk_interleave(
        space.transposedValues, width, tokenWords, space.values(shape, head: head, tokens: tokens))
    }
  }

  /// The bits of a projection of the state, T×H.
  private func project(_ layer: BitLinear, tokens: Int, _ space: borrowing WorkSpace) {
    eachPanel(of: tokens) { panel in
      bits(
        layer, space.state + panel.lowerBound * shape.hiddenSize, rows: panel.count,
        into: space.rowBits + panel.lowerBound * layer.matrix.inputWords, space)
    }
  }

  /// One head's part of packed rows of H bits, into `space.headBits`.
  private func cut(_ bits: UnsafePointer<UInt64>, rows: Int, head: Int, _ space: borrowing WorkSpace) {
    let width = shape.headSize
    bk_cut_columns(bits, rows, (shape.hiddenSize + 63) / 64, head * width, width, space.headBits)
  }

  /// The five estimates of all tokens, R×T: q_m + q_p, q_p, k_p, k_m (r rows each) and v_p.
  func estimate(_ estimators: Estimators, tokens: Int, _ space: borrowing WorkSpace) {
    let (rank, hidden) = (shape.estimatorRank, shape.hiddenSize)
    let outputs = 4 * rank + 1
    kernels.pointee.linear(
      estimators.weight, outputs, hidden, hidden, space.state, tokens, nil, space.estimates, tokens)
    for output in 0..<outputs {
      let (row, bias) = (space.estimates + output * tokens, estimators.bias[output])
      for token in 0..<tokens { row[token] += bias }
    }
    kernels.pointee.add(space.estimates + rank * tokens, rank * tokens, space.estimates)
  }

  /// The rows of `wanted` become the first ones of the state, and of what the queries' estimates are.
  func gather(_ wanted: [Int], tokens: Int, _ space: borrowing WorkSpace) {
    let hidden = shape.hiddenSize
    for (row, token) in wanted.enumerated() where row != token {
      (space.state + row * hidden).update(from: space.state + token * hidden, count: hidden)
      for estimate in 0..<2 * shape.estimatorRank {
        space.estimates[estimate * tokens + row] = space.estimates[estimate * tokens + token]
      }
    }
  }

  /// The context of some rows of the state, as bits, into `space.contextBits`.
  private func attend(_ layer: Layer, _ panel: Range<Int>, tokens: Int, _ space: borrowing WorkSpace) {
    let (hidden, width) = (shape.hiddenSize, shape.headSize)
    let words = (hidden + 63) / 64
    bits(
      layer.query, space.state + panel.lowerBound * hidden, rows: panel.count, into: space.queryBits, space)
    space.contextBits.update(repeating: 0, count: panel.count * words)
    for first in stride(from: 0, to: panel.count, by: WorkSpace.attentionRows) {
      let rows = min(WorkSpace.attentionRows, panel.count - first)
      if layer.estimators != nil {
        estimateScores(from: panel.lowerBound + first, rows: rows, tokens: tokens, space)
      }
      for head in 0..<shape.heads {
        cut(space.queryBits + first * words, rows: rows, head: head, space)
        var own = bk_head(
          tokens: tokens, width: width, keys: space.keys(shape, head: head, tokens: tokens),
          values: space.values(shape, head: head, tokens: tokens),
          score_scale: layer.queryStep * layer.keyStep, score_factor: 1 / Float(width).squareRoot(),
          step: layer.probabilityStep, value_scale: layer.probabilityStep * layer.valueStep,
          value_estimates: layer.estimators == nil
            ? nil : space.estimates + 4 * shape.estimatorRank * tokens,
          shift: layer.contextShift + head * width, first: head * width)
        kernels.pointee.attend(
          &own, space.headBits, rows, layer.estimators == nil ? nil : space.estimatedScores, tokens,
          space.attention, space.contextBits + first * words, words)
      }
    }
  }

  /// S_est = (q_m + q_p) k_pᵀ + q_p k_mᵀ of some rows, rows×T: one product of depth 2r.
  func estimateScores(from first: Int, rows: Int, tokens: Int, _ space: borrowing WorkSpace) {
    let depth = 2 * shape.estimatorRank
    kernels.pointee.transposed_product(
      space.estimates + first, tokens, space.estimates + depth * tokens, tokens, depth, rows, tokens, false,
      space.estimatedScores, tokens)
  }
}
