import DenseProducts
import Kernels

/// Multi-head self-attention on packed heads, with residual estimators (METHOD, "Attention with residual estimators").
///
///     S = (Q_b K_bᵀ + S_est) / √D + mask     P = softmax(S)     context = P_b V_b + P_b v_p
///
/// Legend: B sequences, T tokens, N = B·T, H hidden, h heads, D = H/h. Heads are numbered b·h + head.
struct Attention {
  let places: LayerPlaces
  let sequences: Int
  let length: Int
  let heads: Int
  let headSize: Int
  let query: BinaryLinear
  let key: BinaryLinear
  let value: BinaryLinear
  let estimators: ResidualEstimators?
  /// (B·h·T)×D bits of Q, K and V: sign, and whether within the step size.
  let querySigns: BitView
  let queryWithin: BitView
  let keySigns: BitView
  let keyWithin: BitView
  let valueSigns: BitView
  let valueWithin: BitView
  /// (B·h·T)×T probabilities, and which of them dropout keeps.
  let probabilities: MatrixView
  let keep: BitView
  /// Number of the probabilities' dropout in the network.
  let dropoutPlace: Int

  init(
    _ places: LayerPlaces, configuration: ModelConfiguration, sequences: Int, length: Int, dropoutPlace: Int,
    in arena: inout Arena
  ) {
    self.places = places
    self.sequences = sequences
    self.length = length
    self.dropoutPlace = dropoutPlace
    heads = configuration.heads
    headSize = configuration.headSize
    let rows = sequences * length
    query = BinaryLinear(places.query, rows: rows, in: &arena)
    key = BinaryLinear(places.key, rows: rows, in: &arena)
    value = BinaryLinear(places.value, rows: rows, in: &arena)
    estimators = places.estimators.map {
      ResidualEstimators($0, sequences: sequences, length: length, in: &arena)
    }
    let headRows = rows * heads
    querySigns = arena.bits(rows: headRows, columns: headSize)
    queryWithin = arena.bits(rows: headRows, columns: headSize)
    keySigns = arena.bits(rows: headRows, columns: headSize)
    keyWithin = arena.bits(rows: headRows, columns: headSize)
    valueSigns = arena.bits(rows: headRows, columns: headSize)
    valueWithin = arena.bits(rows: headRows, columns: headSize)
    probabilities = MatrixView(arena.floats(headRows * length), rows: headRows, columns: length)
    keep = arena.bits(rows: headRows, columns: length)
  }

  private var scoreFactor: Float { 1 / Float(headSize).squareRoot() }

  /// The rows of head `head` of sequence `b` in the per-head matrices.
  private func headRows(_ b: Int, _ head: Int) -> Range<Int> {
    let first = (b * heads + head) * length
    return first..<first + length
  }

  /// That head's T×D part of an N×H matrix.
  private func part(_ matrix: MatrixView, _ b: Int, _ head: Int) -> MatrixView {
    matrix[rows: b * length..<(b + 1) * length][columns: head * headSize..<(head + 1) * headSize]
  }

  /// x: N×H → context: N×H.
  ///
  /// - Cost: 3·N·H²/64 + 2·N·T·H/64 word operations, N·h·T exponentials.
  func forward(
    _ x: MatrixView, batch: Batch, mode: ForwardMode, parameters: FloatView, weights: borrowing PackedWeights,
    scratch: AttentionScratch, into context: MatrixView
  ) {
    let fit = mode.fit
    query.forward(x, parameters: parameters, weights: weights, fit: fit, into: scratch.query)
    key.forward(x, parameters: parameters, weights: weights, fit: fit, into: scratch.key)
    value.forward(x, parameters: parameters, weights: weights, fit: fit, into: scratch.value)
    estimators?.forward(x, parameters: parameters, scratch: scratch.estimators)
    if let fit {
      for (projection, place) in [
        (scratch.query, places.queryStep), (scratch.key, places.keyStep), (scratch.value, places.valueStep),
      ] {
        let all = projection.dense
        parameters[place] = Float(fit.signedFactor * all.sumOfAbsolutes() / Double(all.count))
      }
    }
    parallelFor(sequences) { b, worker in
      computeProbabilities(
        b, batch: batch, mode: mode, parameters: parameters, scratch: scratch, worker: worker)
    }
    if let fit {
      let all = probabilities.dense
      parameters[places.probabilityStep] = Float(fit.unsignedFactor * all.sum() / Double(all.count))
    }
    parallelFor(sequences) { b, worker in
      computeContext(b, mode: mode, parameters: parameters, scratch: scratch, worker: worker, into: context)
    }
  }

  private func computeProbabilities(
    _ b: Int, batch: Batch, mode: ForwardMode, parameters: FloatView, scratch: AttentionScratch, worker: Int
  ) {
    let own = scratch.workers[worker]
    let queryStep = stepSize(parameters, places.queryStep)
    let keyStep = stepSize(parameters, places.keyStep)
    let valueStep = stepSize(parameters, places.valueStep)
    estimators?.scores(of: b, into: own.estimate)
    let estimate = estimators == nil ? nil : own.estimate.dense
    for head in 0..<heads {
      let rows = headRows(b, head)
      packSerial(
        part(scratch.query, b, head), shift: nil, step: queryStep, signs: querySigns[rows: rows],
        within: queryWithin[rows: rows])
      packSerial(
        part(scratch.key, b, head), shift: nil, step: keyStep, signs: keySigns[rows: rows],
        within: keyWithin[rows: rows])
      packSerial(
        part(scratch.value, b, head), shift: nil, step: valueStep, signs: valueSigns[rows: rows],
        within: valueWithin[rows: rows])
      own.keys.interleave(keySigns[rows: rows])
      let scores = probabilities[rows: rows]
      xnorProductSerial(querySigns[rows: rows], own.keys, scale: queryStep * keyStep, into: scores)
      softmaxSerial(scores, extra: estimate, length: Int(batch.lengths[b]), factor: scoreFactor)
      mode.dropout?.draw(
        place: dropoutPlace, part: head, epoch: batch.epoch, sample: batch.sampleIDs[b],
        into: keep[rows: rows])
    }
  }

  private func computeContext(
    _ b: Int, mode: ForwardMode, parameters: FloatView, scratch: AttentionScratch, worker: Int,
    into context: MatrixView
  ) {
    let own = scratch.workers[worker]
    let step = stepSize(parameters, places.probabilityStep)
    let valueStep = stepSize(parameters, places.valueStep)
    let dropout = mode.dropout
    for head in 0..<heads {
      let rows = headRows(b, head)
      binariseProbabilitiesSerial(
        probabilities[rows: rows], keep: dropout == nil ? nil : keep[rows: rows],
        factor: dropout?.factor ?? 1,
        step: step, into: own.probabilityBits)
      valueSigns[rows: rows].transpose(into: own.transposedValues)
      own.values.interleave(own.transposedValues)
      var rowBias: FloatView?
      if let estimators {
        own.probabilityBits.sumSetElements(of: estimators.values(of: b), factor: step, into: own.rowBias)
        rowBias = own.rowBias
      }
      andProductSerial(
        own.probabilityBits, own.values, scale: step * valueStep, rowBias: rowBias,
        into: part(context, b, head))
    }
  }

  /// dContext: N×H; adds to dx: N×H and to the parameters' gradients.
  ///
  /// - Cost: dense products of 6·N·H² for the projections and 8·N·T·H for the heads, times 2 operations.
  func backward(
    _ dContext: MatrixView, x: MatrixView, mode: ForwardMode, parameters: FloatView,
    weights: borrowing PackedWeights, gradients: FloatView, scratch: AttentionScratch,
    shared: BackwardScratch,
    addingTo dx: MatrixView
  ) {
    parallelFor(sequences) { b, worker in
      headsBackward(b, dContext, mode: mode, parameters: parameters, scratch: scratch, worker: worker)
    }
    // Step sizes: the heads' sums in their order.
    func addStepGradient(_ kind: Int, at place: Int, count: Int) {
      var sum = 0.0
      for index in 0..<sequences * heads { sum += scratch.stepSums[index * 4 + kind] }
      gradients[place] += Float(sum / Double(shared.slices * count).squareRoot())
    }
    addStepGradient(0, at: places.queryStep, count: dContext.rows * dContext.columns)
    addStepGradient(1, at: places.keyStep, count: dContext.rows * dContext.columns)
    addStepGradient(2, at: places.valueStep, count: dContext.rows * dContext.columns)
    addStepGradient(3, at: places.probabilityStep, count: probabilities.rows * length)
    // The projections' gradients stand where their values stood.
    query.backward(
      scratch.query, parameters: parameters, weights: weights, gradients: gradients, add: true, dx: dx,
      scratch: shared)
    key.backward(
      scratch.key, parameters: parameters, weights: weights, gradients: gradients, add: true, dx: dx,
      scratch: shared)
    value.backward(
      scratch.value, parameters: parameters, weights: weights, gradients: gradients, add: true, dx: dx,
      scratch: shared)
    estimators?.backward(
      x: x, parameters: parameters, gradients: gradients, scratch: scratch.estimators, addingTo: dx)
  }

  /// All heads of one sequence: gradients of Q, K and V into the scratch, of the estimates, and step size sums.
  private func headsBackward(
    _ b: Int, _ dContext: MatrixView, mode: ForwardMode, parameters: FloatView, scratch: AttentionScratch,
    worker: Int
  ) {
    let own = scratch.workers[worker]
    let dropout = mode.dropout
    let step = stepSize(parameters, places.probabilityStep)
    let queryStep = stepSize(parameters, places.queryStep)
    let keyStep = stepSize(parameters, places.keyStep)
    let valueStep = stepSize(parameters, places.valueStep)
    let dScores = own.scores
    let dEstimate = own.estimate.dense
    dEstimate.fill(0)
    own.valueGradient.fill(0)
    for head in 0..<heads {
      let rows = headRows(b, head)
      let d = part(dContext, b, head)
      let bits = own.probabilityBits
      let dropped = dropout == nil ? nil : keep[rows: rows]
      binariseProbabilitiesSerial(
        probabilities[rows: rows], keep: dropped, factor: dropout?.factor ?? 1, step: step, into: bits)

      // V + v_p, then dP_b = dC (V + v_p)ᵀ and d(V + v_p) = P_bᵀ dC.
      valueSigns[rows: rows].unpack(high: valueStep, low: -valueStep, into: own.operand)
      if let values = estimators?.values(of: b) { own.operand.addToColumns(values) }
      denseProductSerial(.plain(d), .transposed(own.operand), into: dScores)
      bits.unpack(high: step, low: 0, into: own.binaryProbabilities)
      denseProductSerial(.transposed(own.binaryProbabilities), .plain(d), into: own.operand)
      if estimators != nil { own.operand.addRowSums(to: own.valueGradient) }
      let sums = scratch.stepSums + (b * heads + head) * 4
      sums[2] = signBackwardSerial(
        own.operand, signs: valueSigns[rows: rows], within: valueWithin[rows: rows], columns: 0..<headSize,
        add: false, dx: part(scratch.value, b, head), shiftGradient: nil)

      sums[3] = probabilitiesBackwardSerial(
        probabilities[rows: rows], keep: dropped, dropoutFactor: dropout?.factor ?? 1, step: step,
        scoreFactor: scoreFactor, gradient: dScores)
      if estimators != nil { dEstimate.addSerial(dScores.dense) }

      keySigns[rows: rows].unpack(high: keyStep, low: -keyStep, into: own.operand)
      denseProductSerial(.plain(dScores), .plain(own.operand), into: own.operandGradient)
      sums[0] = signBackwardSerial(
        own.operandGradient, signs: querySigns[rows: rows], within: queryWithin[rows: rows],
        columns: 0..<headSize,
        add: false, dx: part(scratch.query, b, head), shiftGradient: nil)
      querySigns[rows: rows].unpack(high: queryStep, low: -queryStep, into: own.operand)
      denseProductSerial(.transposed(dScores), .plain(own.operand), into: own.operandGradient)
      sums[1] = signBackwardSerial(
        own.operandGradient, signs: keySigns[rows: rows], within: keyWithin[rows: rows],
        columns: 0..<headSize,
        add: false, dx: part(scratch.key, b, head), shiftGradient: nil)
    }
    estimators?.backward(
      sequence: b, scores: own.estimate, values: own.valueGradient, scratch: scratch.estimators)
  }
}
