import BinaryModel
import Kernels

/// The losses of METHOD's objective; their sum is the total.
struct ReferenceLosses {
  var mlm = Dual(0)
  var nsp = Dual(0)
  var hidden = Dual(0)
  var nspDistillation = Dual(0)
  var total: Dual { mlm + nsp + hidden + nspDistillation }
}

/// METHOD's network in plain loops over dual numbers, in double precision. The straight-through rules stand where the
/// binarisers set the tangents of their results; at half-binary and full precision some or all of them let operands through as
/// they are.
///
/// Legend: B sequences, T tokens, N = B·T, H hidden. Matrices are flat, row-major.
struct ReferenceModel {
  let configuration: ModelConfiguration
  let batch: PretrainingBatch
  var parameters: [String: [Dual]]
  var dropout: Dropout?
  /// Factors of mean|x| and mean p, when step sizes are to be fitted on the way.
  var fit: (signed: Double, unsigned: Double)?
  /// What each linear layer and context put out, by name, on the way.
  private(set) var outputs: [String: [Double]] = [:]
  /// The same of the model at full precision, when step sizes and biases are to be fitted to them.
  var wanted: [String: [Double]]?
  /// Gradients pass within so many means instead of within the step size.
  var window: Double?
  /// What is distilled: L + 1 hidden states, and B×2 logits or nil.
  var teacher: (hidden: [[Float]], nspLogits: [Float]?)?

  /// The distance of the nearest activation and of the nearest weight from a threshold.
  private(set) var activationMargin = Double.infinity
  private(set) var weightMargin = Double.infinity
  private(set) var hidden: [[Dual]] = []
  private(set) var nspLogits: [Dual] = []

  init(_ configuration: ModelConfiguration, batch: PretrainingBatch, parameters: [String: [Dual]]) {
    self.configuration = configuration
    self.batch = batch
    self.parameters = parameters
  }

  var rows: Int { batch.sequences * batch.length }
  private var isFull: Bool { configuration.precision == .full }

  mutating func forward() -> ReferenceLosses {
    let c = configuration
    hidden = [embed()]
    for index in 0..<c.layers { hidden.append(layer(index, hidden[index])) }
    let last = hidden[c.layers]
    let first = (0..<batch.sequences).flatMap { b in
      last[b * batch.length * c.hiddenSize..<(b * batch.length + 1) * c.hiddenSize]
    }
    let dense = binaryLinear(first, "bert.pooler.dense", c.hiddenSize, c.hiddenSize)
    let pooled =
      isFull
      ? dense.map(\.hyperbolicTangent)
      : zip(normalise(dense, "bert.pooler.LayerNorm"), first).map { ($0 + $1).hyperbolicTangent }
    nspLogits = linear(pooled, "cls.seq_relationship", c.hiddenSize, 2)
    return losses(last)
  }

  // MARK: Binarisers

  private func shifted(_ x: [Dual], by name: String?) -> [Dual] {
    guard let name else { return x }
    let shift = parameters[name]!
    return x.indices.map { x[$0] + shift[$0 % shift.count] }
  }

  /// α·sign(x + b): the gradient passes where |x + b| ≤ α; α's is sign / √numel.
  private mutating func elasticSign(
    _ x: [Dual], shift: String?, step name: String, refit: Bool = true, levels set: LevelSet? = nil
  ) -> [Dual] {
    if isFull { return x }
    let levels = set ?? configuration.signedLevels
    let values = shifted(x, by: shift)
    if let fit, refit {
      let mean = values.reduce(0) { $0 + abs($1.value) } / Double(values.count)
      let factor = levels.isSigned ? fit.signed : fit.unsigned
      parameters[name]![0] = Dual(factor * mean / Double(levels.highest).squareRoot())
    }
    if !levels.isSign { return elasticLevels(values, levels, parameters[name]![0]) }
    let step = parameters[name]![0]
    let alpha = max(step.value, 1e-5)
    let root = Double(values.count).squareRoot()
    let limit = window.map { $0 * values.reduce(0) { $0 + abs($1.value) } / Double(values.count) } ?? alpha
    var nearest = activationMargin
    let result = values.map { v in
      nearest = min(nearest, abs(v.value), abs(abs(v.value) - limit))
      let sign: Double = v.value >= 0 ? 1 : -1
      return Dual(
        alpha * sign, tangent: (abs(v.value) <= limit ? v.tangent : 0) + step.tangent * sign / root)
    }
    activationMargin = nearest
    return result
  }

  /// α·clamp(round(v), Q_n, Q_p), v = x/α: the gradient passes where Q_n ≤ v ≤ Q_p; α's is (below: Q_n; above: Q_p; else
  /// round(v) − v) / √(numel·Q_p).
  private mutating func elasticLevels(_ x: [Dual], _ levels: LevelSet, _ step: Dual) -> [Dual] {
    let alpha = max(step.value, 1e-5)
    let (low, high) = (Double(levels.lowest), Double(levels.highest))
    let root = (Double(x.count) * high).squareRoot()
    var nearest = activationMargin
    let result = x.map { x in
      let v = x.value / alpha
      let rounded = v.rounded(.toNearestOrEven)
      // Half-way between two levels, and the ends of the set. A value of exactly 0 stays, whatever the rounding.
      if x.value != 0 {
        if low <= v && v <= high { nearest = min(nearest, alpha * abs(0.5 - abs(v - rounded))) }
        nearest = min(nearest, alpha * abs(v - low), alpha * abs(v - high))
      }
      let slope = v < low ? low : v > high ? high : rounded - v
      return Dual(
        alpha * min(max(rounded, low), high),
        tangent: (low <= v && v <= high ? x.tangent : 0) + step.tangent * slope / root)
    }
    activationMargin = nearest
    return result
  }

  /// α·clamp(round(p/α), 0, 1)
  private mutating func elasticProbability(_ p: [Dual], step name: String) -> [Dual] {
    if isFull { return p }
    if configuration.activationBits > 1 {
      return elasticLevels(p, configuration.unsignedLevels, parameters[name]![0])
    }
    let step = parameters[name]![0]
    let alpha = max(step.value, 1e-5)
    let root = Double(p.count).squareRoot()
    var nearest = activationMargin
    let result = p.map { p in
      let q = p.value / alpha
      nearest = min(nearest, abs(q - 0.5), abs(q - 1))
      let rounded = q.rounded(.toNearestOrEven)
      return Dual(
        alpha * min(max(rounded, 0), 1),
        tangent: (q >= 0 && q <= 1 ? p.tangent : 0) + step.tangent * (q > 1 ? 1 : rounded - q) / root)
    }
    activationMargin = nearest
    return result
  }

  /// m·sign(w − mean(w)), m = mean|w|: the identity for tangents.
  private mutating func binaryMatrix(_ name: String) -> [Dual] {
    let w = parameters[name]!
    if configuration.precision != .binary { return w }
    let mean = w.reduce(0) { $0 + $1.value } / Double(w.count)
    let magnitude = w.reduce(0) { $0 + abs($1.value) } / Double(w.count)
    weightMargin = min(weightMargin, w.map { abs($0.value - mean) }.min()!)
    return w.map { Dual($0.value - mean >= 0 ? magnitude : -magnitude, tangent: $0.tangent) }
  }

  // MARK: Layers

  private func product(_ x: [Dual], _ w: [Dual], _ bias: [Dual], _ inputs: Int, _ outputs: Int) -> [Dual] {
    let rows = x.count / inputs
    var y: [Dual] = []
    y.reserveCapacity(rows * outputs)
    for row in 0..<rows {
      for output in 0..<outputs {
        var sum = bias[output]
        for k in 0..<inputs { sum += x[row * inputs + k] * w[output * inputs + k] }
        y.append(sum)
      }
    }
    return y
  }

  private func linear(_ x: [Dual], _ name: String, _ inputs: Int, _ outputs: Int) -> [Dual] {
    product(x, parameters[name + ".weight"]!, parameters[name + ".bias"]!, inputs, outputs)
  }

  private mutating func binaryLinear(
    _ x: [Dual], _ name: String, _ inputs: Int, _ outputs: Int, levels: LevelSet? = nil
  ) -> [Dual] {
    let (shift, step) = (name + ".move.bias", name + ".input_clip_val")
    let operand = elasticSign(x, shift: shift, step: step, levels: levels)
    let weight = binaryMatrix(name + ".weight")
    var y = product(operand, weight, parameters[name + ".bias"]!, inputs, outputs)
    if let target = wanted?[name], x.count / inputs == rows {
      fitOutput(y.map(\.value), to: target, name, outputs)
      let fitted = elasticSign(x, shift: shift, step: step, refit: false)
      y = product(fitted, weight, parameters[name + ".bias"]!, inputs, outputs)
    }
    self.outputs[name] = y.map(\.value)
    return y
  }

  /// y + (x Aᵀ) Bᵀ, where there are corrections.
  private func corrected(_ y: [Dual], _ x: [Dual], _ name: String) -> [Dual] {
    let (size, rank) = (configuration.hiddenSize, configuration.linearRank)
    guard rank > 0 else { return y }
    func map(_ x: [Dual], _ part: Int, _ inputs: Int, _ outputs: Int) -> [Dual] {
      let bias = [Dual](repeating: Dual(0), count: outputs)
      return product(x, parameters[name + ".lora.\(part).weight"]!, bias, inputs, outputs)
    }
    return zip(y, map(map(x, 0, size, rank), 1, rank, size)).map { $0 + $1 }
  }

  private func normalise(_ x: [Dual], _ name: String) -> [Dual] {
    let (weight, bias) = (parameters[name + ".weight"]!, parameters[name + ".bias"]!)
    let width = weight.count
    var y = x
    for row in 0..<x.count / width {
      let range = row * width..<(row + 1) * width
      var (mean, variance) = (Dual(0), Dual(0))
      for i in range { mean += x[i] }
      mean = (1 / Double(width)) * mean
      for i in range { variance += (x[i] - mean) * (x[i] - mean) }
      let deviation = ((1 / Double(width)) * variance + Dual(1e-12)).squareRoot
      for i in range {
        y[i] = (x[i] - mean) / deviation * weight[i - range.lowerBound] + bias[i - range.lowerBound]
      }
    }
    return y
  }

  /// x ((B·rows)×columns) with the elements of each sequence's part dropped that the generator says.
  private func dropped(
    _ x: [Dual], _ sequence: Int, rows: Int, columns: Int, place: Int, part: Int = 0
  ) -> [Dual] {
    guard let dropout else { return x }
    var arena = Arena()
    let keep = arena.bits(rows: rows, columns: columns)
    dropout.draw(
      place: place, part: part, epoch: batch.tokens.epoch, sample: batch.tokens.sampleIDs[sequence],
      into: keep)
    let factor = Double(dropout.factor)
    return x.indices.map { keep[$0 / columns, $0 % columns] ? factor * x[$0] : Dual(0) }
  }

  private func droppedHidden(_ x: [Dual], place: Int) -> [Dual] {
    let (size, length) = (configuration.hiddenSize, batch.length)
    return (0..<batch.sequences).flatMap { b in
      dropped(
        Array(x[b * length * size..<(b + 1) * length * size]), b, rows: length, columns: size, place: place)
    }
  }

  private mutating func embed() -> [Dual] {
    let size = configuration.hiddenSize
    let words = parameters["bert.embeddings.word_embeddings.weight"]!
    let positions = parameters["bert.embeddings.position_embeddings.weight"]!
    let types = parameters["bert.embeddings.token_type_embeddings.weight"]!
    let mean = words.reduce(0) { $0 + $1.value } / Double(words.count)
    var x: [Dual] = []
    for token in 0..<rows {
      let (id, type) = (Int(batch.tokens.inputIDs[token]), Int(batch.tokens.tokenTypeIDs[token]))
      let row = words[id * size..<(id + 1) * size]
      let magnitude = row.reduce(0) { $0 + abs($1.value) } / Double(size)
      for j in 0..<size {
        let w = words[id * size + j]
        var word = w
        if configuration.precision == .binary {
          weightMargin = min(weightMargin, abs(w.value - mean))
          word = Dual(w.value - mean >= 0 ? magnitude : -magnitude, tangent: w.tangent)
        }
        x.append(word + positions[token % batch.length * size + j] + types[type * size + j])
      }
    }
    return droppedHidden(normalise(x, "bert.embeddings.LayerNorm"), place: 0)
  }

  private mutating func layer(_ index: Int, _ x: [Dual]) -> [Dual] {
    let (size, inner) = (configuration.hiddenSize, configuration.intermediateSize)
    let block = "bert.encoder.layer.\(index)."
    let context = attention(x, block + "attention.self.", place: 1 + 3 * index)
    let attended = droppedHidden(
      corrected(
        binaryLinear(context, block + "attention.output.dense", size, size), context,
        block + "attention.output.lora_o"), place: 2 + 3 * index)
    let middle = normalise(zip(attended, x).map { $0 + $1 }, block + "attention.output.LayerNorm")
    let dense = binaryLinear(middle, block + "intermediate.dense", size, inner)
    let activated = dense.map { x in
      if configuration.feedForwardActivation == .gelu { return x.gelu }
      activationMargin = min(activationMargin, abs(x.value))
      return x.rectified
    }
    let output = droppedHidden(
      binaryLinear(
        activated, block + "output.dense", inner, size, levels: configuration.innerLevels),
      place: 3 + 3 * index)
    return normalise(zip(output, middle).map { $0 + $1 }, block + "output.LayerNorm")
  }

  private mutating func attention(_ x: [Dual], _ name: String, place: Int) -> [Dual] {
    let (size, length) = (configuration.hiddenSize, batch.length)
    let query = corrected(binaryLinear(x, name + "query", size, size), x, name + "lora_q")
    let key = corrected(binaryLinear(x, name + "key", size, size), x, name + "lora_k")
    let value = corrected(binaryLinear(x, name + "value", size, size), x, name + "lora_v")
    var q = elasticSign(query, shift: nil, step: name + "clip_query")
    var k = elasticSign(key, shift: nil, step: name + "clip_key")
    if wanted != nil {
      fitScores(q.map(\.value), k.map(\.value), name)
      q = elasticSign(query, shift: nil, step: name + "clip_query", refit: false)
      k = elasticSign(key, shift: nil, step: name + "clip_key", refit: false)
    }
    var v = elasticSign(value, shift: nil, step: name + "clip_value")
    let estimate = Estimate(self, x, name)
    let headSize = size / configuration.heads

    var probabilities: [Dual] = []
    var afterDropout: [Dual] = []
    for b in 0..<batch.sequences {
      for head in 0..<configuration.heads {
        var own: [Dual] = []
        for i in b * length..<(b + 1) * length {
          var exponentials: [Dual] = []
          var sum = Dual(0)
          for j in b * length..<b * length + Int(batch.tokens.lengths[b]) {
            var score = estimate.score(i, j, head: head)
            for d in head * headSize..<(head + 1) * headSize { score += q[i * size + d] * k[j * size + d] }
            exponentials.append(((1 / Double(headSize).squareRoot()) * score).exponential)
            sum += exponentials.last!
          }
          own += exponentials.map { $0 / sum }
          own += [Dual](repeating: Dual(0), count: length - exponentials.count)
        }
        probabilities += own
        afterDropout += dropped(own, b, rows: length, columns: length, place: place, part: head)
      }
    }
    if let fit, !isFull {
      let mean = probabilities.reduce(0) { $0 + $1.value } / Double(probabilities.count)
      let root = Double(configuration.unsignedLevels.highest).squareRoot()
      parameters[name + "clip_attn"]![0] = Dual(fit.unsigned * mean / root)
      if wanted != nil {
        fitContext(probabilities.map(\.value), value.map(\.value), name)
        v = elasticSign(value, shift: nil, step: name + "clip_value", refit: false)
      }
    }
    let binary = elasticProbability(afterDropout, step: name + "clip_attn")

    var context = [Dual](repeating: Dual(0), count: rows * size)
    for b in 0..<batch.sequences {
      for head in 0..<configuration.heads {
        for i in 0..<length {
          for d in head * headSize..<(head + 1) * headSize {
            var sum = Dual(0)
            for j in 0..<length {
              let p = binary[((b * configuration.heads + head) * length + i) * length + j]
              let token = b * length + j
              sum += p * (v[token * size + d] + estimate.value(token))
            }
            context[(b * length + i) * size + d] = sum
          }
        }
      }
    }
    outputs[name + "context"] = context.map(\.value)
    return context
  }

  /// The residual estimators of one layer; all zero at rank 0.
  private struct Estimate {
    let rank: Int
    /// 1, or one a head.
    let sets: Int
    var qm: [Dual] = []
    var qp: [Dual] = []
    var km: [Dual] = []
    var kp: [Dual] = []
    var vp: [Dual] = []

    init(_ model: ReferenceModel, _ x: [Dual], _ name: String) {
      rank = model.configuration.estimatorRank
      sets = model.configuration.hasEstimatorsPerHead ? model.configuration.heads : 1
      guard rank > 0 else { return }
      let (size, rank) = (model.configuration.hiddenSize, rank * sets)
      qm = model.linear(x, name + "q_m", size, rank)
      qp = model.linear(x, name + "q_p", size, rank)
      km = model.linear(x, name + "k_m", size, rank)
      kp = model.linear(x, name + "k_p", size, rank)
      vp = model.linear(x, name + "v_p", size, 1)
    }

    /// q_m k_pᵀ + q_p k_mᵀ + q_p k_pᵀ
    func score(_ i: Int, _ j: Int, head: Int) -> Dual {
      var sum = Dual(0)
      let own = sets == 1 ? 0 : head * rank
      for r in own..<own + rank {
        let (a, b) = (i * rank * sets + r, j * rank * sets + r)
        sum += qm[a] * kp[b] + qp[a] * km[b] + qp[a] * kp[b]
      }
      return sum
    }

    func value(_ token: Int) -> Dual { rank == 0 ? Dual(0) : vp[token] }
  }

  // MARK: Losses

  private mutating func losses(_ last: [Dual]) -> ReferenceLosses {
    let (size, vocabulary) = (configuration.hiddenSize, configuration.vocabularySize)
    var result = ReferenceLosses()
    let tokens = (0..<rows).filter { batch.labels.masked[$0] >= 0 }
    let gathered = tokens.flatMap { last[$0 * size..<($0 + 1) * size] }
    let dense = linear(gathered, "cls.predictions.transform.dense", size, size)
    for x in dense { activationMargin = min(activationMargin, abs(x.value)) }
    let transformed = normalise(dense.map(\.rectified), "cls.predictions.transform.LayerNorm")
    let logits = product(
      transformed, parameters["bert.embeddings.word_embeddings.weight"]!,
      parameters["cls.predictions.bias"]!, size, vocabulary)
    for (row, token) in tokens.enumerated() {
      let own = logits[row * vocabulary..<(row + 1) * vocabulary]
      result.mlm += (1 / Double(tokens.count)) * crossEntropy(own, label: Int(batch.labels.masked[token]))
    }
    for b in 0..<batch.sequences {
      let own = nspLogits[2 * b..<2 * b + 2]
      result.nsp +=
        (1 / Double(batch.sequences)) * crossEntropy(own, label: Int(batch.labels.nextSentence[b]))
    }
    guard let teacher else { return result }
    for (student, target) in zip(hidden, teacher.hidden) {
      var sum = Dual(0)
      for (s, t) in zip(student, target) {
        let d = s - Dual(Double(t))
        sum += d * d
      }
      result.hidden +=
        (1 / Double(student.count * (configuration.hiddenLoss == .sum ? 1 : hidden.count))) * sum
    }
    guard let teacherLogits = teacher.nspLogits else { return result }
    for b in 0..<batch.sequences {
      for target in 0..<2 {
        let logits = teacherLogits[2 * b..<2 * b + 2].map { Dual(Double($0)) }
        let weight = (Dual(0) - crossEntropy(logits[...], label: target)).exponential.value
        let own = nspLogits[2 * b..<2 * b + 2]
        result.nspDistillation +=
          (weight / Double(2 * batch.sequences)) * crossEntropy(own, label: target)
      }
    }
    return result
  }
}
