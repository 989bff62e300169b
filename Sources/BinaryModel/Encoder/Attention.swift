import Kernels
import Parameters

/// Where the tensors of one layer's self-attention lie in the flat buffers.
struct AttentionPlaces: Sendable {
  let query: EncoderLinearPlaces
  let key: EncoderLinearPlaces
  let value: EncoderLinearPlaces
  /// nil where the attention is not binary.
  let steps: Steps?
  let estimators: EstimatorPlaces?
  /// Of query, key and value; nil each at rank 0.
  let queryCorrection: CorrectionPlaces?
  let keyCorrection: CorrectionPlaces?
  let valueCorrection: CorrectionPlaces?

  /// The step sizes of Q, K, V and the probabilities.
  struct Steps: Sendable {
    let query: StepSize
    let key: StepSize
    let value: StepSize
    let probability: StepSize
  }

  /// Adds the tensors of the attention, whose names begin with `prefix`, to a layout.
  init(_ prefix: String, _ c: ModelConfiguration, in layout: inout LayoutBuilder) {
    let hidden = c.hiddenSize
    estimators = EstimatorPlaces(
      prefix, rank: c.estimatorRank, sets: c.estimatorSets, hidden: hidden, in: &layout)
    func linear(_ name: String, in layout: inout LayoutBuilder) -> EncoderLinearPlaces {
      EncoderLinearPlaces(prefix + name, outputs: hidden, inputs: hidden, c, in: &layout)
    }
    query = linear("query", in: &layout)
    key = linear("key", in: &layout)
    value = linear("value", in: &layout)
    steps =
      c.precision.hasBinaryActivations
      ? Steps(
        query: StepSize(prefix + "clip_query", in: &layout), key: StepSize(prefix + "clip_key", in: &layout),
        value: StepSize(prefix + "clip_value", in: &layout),
        probability: StepSize(prefix + "clip_attn", in: &layout)) : nil
    func correction(_ name: String, in layout: inout LayoutBuilder) -> CorrectionPlaces? {
      CorrectionPlaces(prefix + name, outputs: hidden, inputs: hidden, rank: c.linearRank, in: &layout)
    }
    queryCorrection = correction("lora_q", in: &layout)
    keyCorrection = correction("lora_k", in: &layout)
    valueCorrection = correction("lora_v", in: &layout)
  }
}

/// Multi-head self-attention on packed heads, with residual estimators (METHOD, "Attention with residual estimators").
///
///     S = (Q_b K_bᵀ + S_est) / √D + mask     P = softmax(S)     context = P_b V_b + P_b v_p
///
/// Q, K and V may have low-rank corrections, before they are binarised.
///
/// Legend: B sequences, T tokens, N = B·T, H hidden, h heads, D = H/h. Heads are numbered b·h + head.
struct Attention {
  let sequences: Int
  let length: Int
  let heads: Int
  let headSize: Int
  let query: EncoderLinear
  let key: EncoderLinear
  let value: EncoderLinear
  let queryCorrection: LowRankCorrection?
  let keyCorrection: LowRankCorrection?
  let valueCorrection: LowRankCorrection?
  let estimators: ResidualEstimators?
  /// Of (B·h·T)×D.
  let queries: ActivationBinariser
  let keys: ActivationBinariser
  let values: ActivationBinariser
  let probabilityBinariser: ProbabilityBinariser
  /// (B·h·T)×T probabilities, and which of them dropout keeps.
  let probabilities: MatrixView
  let keep: BitView
  /// Number of the probabilities' dropout in the network.
  let dropoutPlace: Int

  init(
    _ places: AttentionPlaces, steps: AttentionPlaces.Steps, configuration: ModelConfiguration,
    sequences: Int, length: Int, dropoutPlace: Int, in arena: inout Arena
  ) {
    self.sequences = sequences
    self.length = length
    self.dropoutPlace = dropoutPlace
    heads = configuration.heads
    headSize = configuration.headSize
    let rows = sequences * length
    query = EncoderLinear(places.query, rows: rows, in: &arena)
    key = EncoderLinear(places.key, rows: rows, sharingInputOf: query, in: &arena)
    value = EncoderLinear(places.value, rows: rows, sharingInputOf: query, in: &arena)
    queryCorrection = places.queryCorrection.map { LowRankCorrection($0, rows: rows, in: &arena) }
    keyCorrection = places.keyCorrection.map { LowRankCorrection($0, rows: rows, in: &arena) }
    valueCorrection = places.valueCorrection.map { LowRankCorrection($0, rows: rows, in: &arena) }
    estimators = places.estimators.map {
      ResidualEstimators(
        $0, sets: configuration.estimatorSets, sequences: sequences, length: length, in: &arena)
    }
    let headRows = rows * heads
    func binariser(_ step: StepSize, _ arena: inout Arena, columns: Int) -> ActivationBinariser {
      ActivationBinariser(
        BinariserPlaces(step: step, shift: nil, levels: configuration.signedLevels), rows: headRows,
        columns: columns, in: &arena)
    }
    queries = binariser(steps.query, &arena, columns: headSize)
    keys = binariser(steps.key, &arena, columns: headSize)
    values = binariser(steps.value, &arena, columns: headSize)
    probabilityBinariser = ProbabilityBinariser(
      step: steps.probability, levels: configuration.unsignedLevels)
    probabilities = MatrixView(arena.floats(headRows * length), rows: headRows, columns: length)
    keep = arena.bits(rows: headRows, columns: length)
  }

  var scoreFactor: Float { 1 / Float(headSize).squareRoot() }

  /// The rows of head `head` of sequence `b` in the per-head matrices.
  func headRows(_ b: Int, _ head: Int) -> Range<Int> {
    let first = (b * heads + head) * length
    return first..<first + length
  }

  /// That head's T×D part of an N×H matrix.
  func part(_ matrix: MatrixView, _ b: Int, _ head: Int) -> MatrixView {
    matrix[rows: b * length..<(b + 1) * length][columns: head * headSize..<(head + 1) * headSize]
  }

  /// x: N×H → context: N×H.
  ///
  /// - Cost: 3·N·H²/64 + 2·N·T·H/64 word operations, N·h·T exponentials.
  func forward(_ x: MatrixView, _ pass: Pass, into context: MatrixView) {
    let (scratch, parameters) = (pass.scratch.attention, pass.parameters)
    query.forward(x, pass, into: scratch.query)
    key.forward(x, pass, into: scratch.key)
    value.forward(x, pass, into: scratch.value)
    queryCorrection?.forward(x, parameters: parameters, addingTo: scratch.query)
    keyCorrection?.forward(x, parameters: parameters, addingTo: scratch.key)
    valueCorrection?.forward(x, parameters: parameters, addingTo: scratch.value)
    pass.mode.fit?.fitScores(of: self, x, pass)
    computeEstimates(x, pass)
    let windows = Windows(
      query: queries.window(pass.window, of: scratch.query, parameters),
      key: keys.window(pass.window, of: scratch.key, parameters),
      value: values.window(pass.window, of: scratch.value, parameters))
    parallelFor(sequences) { b, worker in computeProbabilities(b, windows, pass, worker: worker) }
    pass.mode.fit?.fitContext(of: self, x, pass)
    parallelFor(sequences) { b, worker in computeContext(b, pass, worker: worker, into: context) }
    pass.mode.probe?.measure(self, x, pass)
  }

  /// The windows of Q, K and V in one pass.
  private struct Windows {
    let query: Float
    let key: Float
    let value: Float
  }

  /// x: N×H → the estimators' estimates.
  func computeEstimates(_ x: MatrixView, _ pass: Pass) {
    estimators?.forward(
      x, parameters: pass.parameters, order: pass.mode.sumOrder, scratch: pass.scratch.attention.estimators)
  }

  private func computeProbabilities(_ b: Int, _ windows: Windows, _ pass: Pass, worker: Int) {
    let (scratch, parameters, tokens) = (pass.scratch.attention, pass.parameters, pass.tokens)
    let own = scratch.workers[worker]
    let scale = queries.scale(parameters) * keys.scale(parameters)
    let estimate = estimators == nil ? nil : own.estimate.dense
    for head in 0..<heads {
      if let estimators, head < estimators.sets {
        estimators.scores(of: b, set: head, order: pass.mode.sumOrder, into: own.estimate)
      }
      let rows = headRows(b, head)
      queries.packSerial(part(scratch.query, b, head), rows: rows, window: windows.query, parameters)
      keys.packSerial(part(scratch.key, b, head), rows: rows, window: windows.key, parameters)
      values.packSerial(part(scratch.value, b, head), rows: rows, window: windows.value, parameters)
      let scores = probabilities[rows: rows]
      multiplyScores(rows, scale: scale, own, parameters, into: scores)
      softmaxSerial(scores, extra: estimate, length: Int(tokens.lengths[b]), factor: scoreFactor)
      pass.mode.dropout?.draw(
        place: dropoutPlace, part: head, epoch: tokens.epoch, sample: tokens.sampleIDs[b],
        into: keep[rows: rows])
    }
  }

  private func computeContext(_ b: Int, _ pass: Pass, worker: Int, into context: MatrixView) {
    let (own, parameters) = (pass.scratch.attention.workers[worker], pass.parameters)
    let step = probabilityBinariser.scale(parameters)
    let scale = step * values.scale(parameters)
    for head in 0..<heads {
      let rows = headRows(b, head)
      multiplyContext(
        rows, scale: scale, step: step, estimate: estimators?.values(of: b), own, pass,
        into: part(context, b, head))
    }
  }

  /// dContext: N×H; adds to dx: N×H and to the parameters' gradients.
  ///
  /// - Cost: dense products of 6·N·H² for the projections and 8·N·T·H for the heads, times 2 operations.
  func backward(_ dContext: MatrixView, x: MatrixView, _ pass: BackwardPass, addingTo dx: MatrixView) {
    let (scratch, gradients) = (pass.scratch.attention, pass.gradients)
    parallelFor(sequences) { b, worker in headsBackward(b, dContext, pass, worker: worker) }
    let (slices, sums) = (pass.scratch.backward.slices, stepSums(scratch))
    queries.addStepGradient(sums.query, slices: slices, gradients)
    keys.addStepGradient(sums.key, slices: slices, gradients)
    values.addStepGradient(sums.value, slices: slices, gradients)
    probabilityBinariser.addStepGradient(
      sums.probability, count: slices * probabilities.rows * length, gradients)
    // The projections' gradients stand where their values stood.
    query.backward(scratch.query, pass, add: true, dx: dx)
    key.backward(scratch.key, pass, add: true, dx: dx)
    value.backward(scratch.value, pass, add: true, dx: dx)
    func correct(_ correction: LowRankCorrection?, _ d: MatrixView) {
      correction?.backward(d, x: x, parameters: pass.parameters, gradients: gradients, addingTo: dx)
    }
    correct(queryCorrection, scratch.query)
    correct(keyCorrection, scratch.key)
    correct(valueCorrection, scratch.value)
    estimators?.backward(
      x: x, parameters: pass.parameters, gradients: gradients, scratch: scratch.estimators, addingTo: dx)
  }

  /// The heads' sums for the gradients of the step sizes, added in their order.
  private func stepSums(
    _ scratch: AttentionScratch
  ) -> (query: Double, key: Double, value: Double, probability: Double) {
    func sum(_ kind: Int) -> Double {
      (0..<sequences * heads).reduce(0) { $0 + scratch.stepSums[$1 * 4 + kind] }
    }
    return (sum(0), sum(1), sum(2), sum(3))
  }

  /// All heads of one sequence: gradients of Q, K and V into the scratch, of the estimates, and step size sums.
  private func headsBackward(_ b: Int, _ dContext: MatrixView, _ pass: BackwardPass, worker: Int) {
    let (scratch, parameters, dropout) = (pass.scratch.attention, pass.parameters, pass.dropout)
    let own = scratch.workers[worker]
    let step = probabilityBinariser.scale(parameters)
    let dScores = own.scores
    let dEstimate = own.estimate.dense
    own.valueGradient.fill(0)
    for head in 0..<heads {
      let rows = headRows(b, head)
      let d = part(dContext, b, head)
      let (p, kept) = (probabilities[rows: rows], keep[rows: rows])
      // V + v_p, then dP_b = dC (V + v_p)ᵀ and d(V + v_p) = P_bᵀ dC.
      values.unpack(rows: rows, parameters, into: own.operand)
      if let values = estimators?.values(of: b) { own.operand.addToColumns(values) }
      denseProductSerial(.plain(d), .transposed(own.operand), into: dScores)
      probabilityBinariser.writeSerial(
        p, keep: kept, dropout: dropout, factor: step, parameters, bits: own.probabilityBits,
        into: own.binaryProbabilities)
      denseProductSerial(.transposed(own.binaryProbabilities), .plain(d), into: own.operand)
      if estimators != nil { own.operand.addRowSums(to: own.valueGradient) }
      let sums = scratch.stepSums + (b * heads + head) * 4
      sums[2] = values.backwardSerial(
        own.operand, rows: rows, dx: part(scratch.value, b, head), parameters)

      sums[3] = probabilityBinariser.backwardSerial(
        p, keep: kept, dropout: dropout, scoreFactor: scoreFactor, parameters, gradient: dScores,
        room: own.binaryProbabilities)
      if let estimators {
        // One set's gradient is the sum of its heads'.
        if head < estimators.sets { dEstimate.fill(0) }
        dEstimate.addSerial(dScores.dense)
        if estimators.sets > 1 {
          estimators.backward(sequence: b, set: head, scores: own.estimate, scratch: scratch.estimators)
        }
      }

      keys.unpack(rows: rows, parameters, into: own.operand)
      denseProductSerial(.plain(dScores), .plain(own.operand), into: own.operandGradient)
      sums[0] = queries.backwardSerial(
        own.operandGradient, rows: rows, dx: part(scratch.query, b, head), parameters)
      queries.unpack(rows: rows, parameters, into: own.operand)
      denseProductSerial(.transposed(dScores), .plain(own.operand), into: own.operandGradient)
      sums[1] = keys.backwardSerial(
        own.operandGradient, rows: rows, dx: part(scratch.key, b, head), parameters)
    }
    guard let estimators else { return }
    if estimators.sets == 1 {
      estimators.backward(sequence: b, set: 0, scores: own.estimate, scratch: scratch.estimators)
    }
    estimators.backward(sequence: b, values: own.valueGradient, scratch: scratch.estimators)
  }
}
