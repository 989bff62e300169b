import CBitKernels

// A block whose activations are more than signs, in the order of training's evaluation. Products of linear layers are sums over
// planes of bits; those of a head are float32 products of its integers, exact in any order since no sum passes 2²⁴.
//
// Legend: T tokens, P of them at a time (`WorkSpace.panel`), H hidden, F intermediate, h heads, D = H/h, r rank.
extension Network {
  /// One block, from and to `space.state`.
  func advance(_ layer: LevelLayer, tokens: Int, wanted: [Int]?, _ space: borrowing WorkSpace) {
    let (hidden, table) = (shape.hiddenSize, kernels.pointee)
    keepKeysAndValues(layer, tokens: tokens, space)
    if let estimators = layer.estimators { estimate(estimators, tokens: tokens, space) }
    if let wanted { gather(wanted, tokens: tokens, space) }
    eachPanel(of: wanted?.count ?? tokens) { panel in
      let (rows, state) = (panel.count, space.state + panel.lowerBound * hidden)
      attend(layer, panel, tokens: tokens, space)
      apply(layer.attentionOutput, space.context, rows: rows, into: space.middle, space)
      table.add(state, rows * hidden, space.middle)
      normalise(space.middle, rows: rows, layer.attentionNormalisation, into: space.middle, space)
      let inner = rows * shape.intermediateSize
      apply(layer.intermediate, space.middle, rows: rows, into: space.wide, space)
      switch shape.feedForwardActivation {
      case .gelu: table.gelu(space.wide, inner, space.wide)
      case .relu: table.relu(inner, space.wide)
      }
      apply(layer.output, space.wide, rows: rows, into: state, space)
      table.add(space.middle, rows * hidden, state)
      normalise(state, rows: rows, layer.outputNormalisation, into: state, space)
    }
  }

  /// y of a linear layer for some rows of x: rows×I → rows×O.
  func apply(
    _ layer: LevelLinear, _ x: UnsafePointer<Float>, rows: Int, into y: UnsafeMutablePointer<Float>,
    _ space: borrowing WorkSpace
  ) {
    let (matrix, table) = (layer.matrix, kernels.pointee)
    let (inputs, outputs) = (matrix.inputs, matrix.outputs)
    if bk_is_sign(layer.levels) {
      table.pack(x, rows, inputs, inputs, layer.shift, 0, space.inputBits, nil)
      table.xnor_product(
        space.inputBits, rows, matrix.words, outputs, matrix.inputWords, Int32(inputs), layer.scale,
        layer.bias, y, outputs)
      return
    }
    withUnsafePointer(to: layer.levels) { levels in
      table.level_planes(x, rows, inputs, inputs, layer.shift, levels, space.planes)
      table.level_product(
        space.planes, rows, levels, matrix.words, outputs, matrix.inputWords, layer.scale, layer.bias, y,
        outputs)
    }
  }

  // MARK: Attention

  /// The integers of one head's part of rows×H, densely: rows×D.
  private func writeHead(
    _ head: Int, of x: UnsafePointer<Float>, rows: Int, _ levels: bk_levels,
    into out: UnsafeMutablePointer<Float>, _ space: borrowing WorkSpace
  ) {
    let (hidden, width, table) = (shape.hiddenSize, shape.headSize, kernels.pointee)
    let part = x + head * width
    if bk_is_sign(levels) {
      table.pack(part, rows, width, hidden, nil, 0, space.inputBits, nil)
      table.unpack(space.inputBits, rows, width, 1, -1, out, width)
      return
    }
    withUnsafePointer(to: levels) { table.levels(part, rows, width, hidden, nil, $0, 1, out, width) }
  }

  /// The integers of all heads' keys, T×D each, and transposed values, D×T each.
  private func keepKeysAndValues(_ layer: LevelLayer, tokens: Int, _ space: borrowing WorkSpace) {
    let (hidden, width) = (shape.hiddenSize, shape.headSize)
    eachPanel(of: tokens) { panel in
      let state = space.state + panel.lowerBound * hidden
      apply(layer.key, state, rows: panel.count, into: space.wide, space)
      for head in 0..<shape.heads {
        let keys = space.keyLevels + (head * tokens + panel.lowerBound) * width
        writeHead(head, of: space.wide, rows: panel.count, layer.keyLevels, into: keys, space)
      }
      apply(layer.value, state, rows: panel.count, into: space.wide, space)
      for head in 0..<shape.heads {
        let (own, values) = (space.headLevels, space.valueLevels + head * width * tokens)
        writeHead(head, of: space.wide, rows: panel.count, layer.valueLevels, into: own, space)
        for channel in 0..<width {
          let row = values + channel * tokens + panel.lowerBound
          for token in 0..<panel.count { row[token] = own[token * width + channel] }
        }
      }
    }
  }

  /// The context of some rows of the state, into `space.context`.
  private func attend(_ layer: LevelLayer, _ panel: Range<Int>, tokens: Int, _ space: borrowing WorkSpace) {
    let (hidden, width, rows, table) = (shape.hiddenSize, shape.headSize, panel.count, kernels.pointee)
    let step = layer.probabilityLevels.step
    let hasEstimates = layer.estimators != nil
    apply(layer.query, space.state + panel.lowerBound * hidden, rows: rows, into: space.wide, space)
    if hasEstimates { estimateScores(from: panel.lowerBound, rows: rows, tokens: tokens, space) }
    for head in 0..<shape.heads {
      let scores = space.scores
      writeHead(head, of: space.wide, rows: rows, layer.queryLevels, into: space.headLevels, space)
      table.linear(
        space.headLevels, rows, width, width, space.keyLevels + head * tokens * width, tokens, nil, scores,
        tokens)
      table.scale_rows(
        scores, rows, tokens, layer.queryLevels.step * layer.keyLevels.step, nil, scores, tokens)
      table.softmax(
        scores, hasEstimates ? space.estimatedScores : nil, rows, tokens, tokens,
        1 / Float(width).squareRoot())
      withUnsafePointer(to: layer.probabilityLevels) {
        table.levels(scores, rows, tokens, tokens, nil, $0, 1, scores, tokens)
      }
      if hasEstimates {
        let values = space.estimates + 4 * shape.estimatorRank * tokens
        table.linear(scores, rows, tokens, tokens, values, 1, nil, space.rowBias, 1)
        table.scale(step, rows, space.rowBias)
      }
      table.linear(
        scores, rows, tokens, tokens, space.valueLevels + head * width * tokens, width, nil,
        space.headLevels, width)
      table.scale_rows(
        space.headLevels, rows, width, step * layer.valueLevels.step, hasEstimates ? space.rowBias : nil,
        space.context + head * width, hidden)
    }
  }
}
