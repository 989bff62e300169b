import Kernels

/// A full-precision BERT in evaluation mode (Devlin et al. 2019): the source of hidden states for distillation. Its linear
/// layers multiply in bfloat16 and add in float32; all else is float32.
///
/// Legend: B sequences, T tokens, N = B·T, H hidden, F intermediate, D head width.
public final class FullPrecisionTeacher: Teacher {
  private let weights: TeacherWeights
  private let configuration: ModelConfiguration
  private let sequences: Int
  private let length: Int
  private let arena: Arena
  private let hidden: [FloatView]
  private let query: MatrixView
  private let key: MatrixView
  private let value: MatrixView
  private let context: MatrixView
  private let middle: FloatView
  private let inner: FloatView
  private let normalised: FloatView
  private let inverseDeviation: FloatView
  private let pooled: MatrixView
  /// B×outputs of the head; none without a head.
  private let logits: MatrixView?
  /// T×T for each thread.
  private let scores: [MatrixView]

  public init(
    _ weights: consuming TeacherWeights, configuration c: ModelConfiguration, sequences: Int, length: Int
  ) {
    let rows = sequences * length
    func matrix(_ rows: Int, _ columns: Int, _ arena: inout Arena) -> MatrixView {
      MatrixView(arena.floats(rows * columns), rows: rows, columns: columns)
    }
    let outputs = weights.tensors.head?.linear.weight.rows
    self.weights = weights
    configuration = c
    var arena = Arena()
    self.sequences = sequences
    self.length = length
    var states: [FloatView] = []
    for _ in 0...c.layers { states.append(arena.floats(rows * c.hiddenSize)) }
    hidden = states
    query = matrix(rows, c.hiddenSize, &arena)
    key = matrix(rows, c.hiddenSize, &arena)
    value = matrix(rows, c.hiddenSize, &arena)
    context = matrix(rows, c.hiddenSize, &arena)
    middle = arena.floats(rows * c.hiddenSize)
    inner = arena.floats(rows * c.intermediateSize)
    normalised = arena.floats(rows * c.hiddenSize)
    inverseDeviation = arena.floats(rows)
    pooled = matrix(sequences, c.hiddenSize, &arena)
    logits = outputs.map { matrix(sequences, $0, &arena) }
    var perThread: [MatrixView] = []
    for _ in 0..<threadCount { perThread.append(matrix(length, length, &arena)) }
    scores = perThread
    self.arena = arena
  }

  /// - Cost: 2·N·(4·H² + 2·H·F) + 4·N·T·H operations a layer.
  public func forward(_ batch: TokenBatch) -> TeacherOutput {
    embed(batch)
    for index in 0..<configuration.layers { forwardLayer(index, batch: batch) }
    if let head = weights.tensors.head, let logits { computeLogits(head, into: logits) }
    return TeacherOutput(hidden: hidden, logits: logits?.dense)
  }

  private func matrix(_ view: FloatView, _ columns: Int) -> MatrixView {
    MatrixView(view, rows: sequences * length, columns: columns)
  }

  private func normalise(_ x: FloatView, _ places: TeacherWeights.Normalisation, into y: FloatView) {
    Kernels.normalise(
      matrix(x, configuration.hiddenSize), epsilon: LayerNormalisation.epsilon, weight: places.weight,
      bias: places.bias, normalised: normalised, inverseDeviation: inverseDeviation, into: y)
  }

  private func linear(_ x: MatrixView, _ places: TeacherWeights.Linear, into y: MatrixView) {
    bfloat16Product(x, places.weight, bias: places.bias, into: y)
  }

  private func embed(_ batch: TokenBatch) {
    let size = configuration.hiddenSize
    for token in 0..<sequences * length {
      let out = hidden[0][token * size..<(token + 1) * size]
      let id = Int(batch.inputIDs[token])
      let type = Int(batch.tokenTypeIDs[token])
      out.copy(from: weights.tensors.words[id * size..<(id + 1) * size])
      out.addSerial(weights.tensors.positions[token % length * size..<(token % length + 1) * size])
      out.addSerial(weights.tensors.types[type * size..<(type + 1) * size])
    }
    normalise(hidden[0], weights.tensors.embeddingNormalisation, into: hidden[0])
  }

  private func forwardLayer(_ index: Int, batch: TokenBatch) {
    let layer = weights.tensors.layers[index]
    let size = configuration.hiddenSize
    let x = matrix(hidden[index], size)
    linear(x, layer.query, into: query)
    linear(x, layer.key, into: key)
    linear(x, layer.value, into: value)
    let headSize = configuration.headSize
    parallelFor(sequences) { b, worker in
      let rows = b * length..<(b + 1) * length
      for head in 0..<configuration.heads {
        let columns = head * headSize..<(head + 1) * headSize
        let own = scores[worker]
        attentionProbabilitiesSerial(
          query: query[rows: rows][columns: columns], key: key[rows: rows][columns: columns],
          length: Int(batch.lengths[b]), into: own)
        denseProductSerial(
          .plain(own), .plain(value[rows: rows][columns: columns]),
          into: context[rows: rows][columns: columns])
      }
    }
    linear(context, layer.attentionOutput, into: matrix(middle, size))
    middle.add(hidden[index])
    normalise(middle, layer.attentionNormalisation, into: middle)
    linear(matrix(middle, size), layer.intermediate, into: matrix(inner, configuration.intermediateSize))
    inner.gelu(of: inner)
    let out = hidden[index + 1]
    linear(matrix(inner, configuration.intermediateSize), layer.output, into: matrix(out, size))
    out.add(middle)
    normalise(out, layer.outputNormalisation, into: out)
  }

  private func computeLogits(_ head: TeacherWeights.Head, into logits: MatrixView) {
    let size = configuration.hiddenSize
    let last = hidden[configuration.layers]
    let first = MatrixView(base: last.base, rows: sequences, columns: size, stride: length * size)
    linear(first, head.pooler, into: pooled)
    pooled.dense.tanh()
    linear(pooled, head.linear, into: logits)
  }
}
