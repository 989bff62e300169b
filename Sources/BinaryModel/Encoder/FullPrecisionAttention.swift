import Kernels
import Parameters

/// A layer's self-attention: what the model's precision makes it is chosen here, once.
///
/// Legend: N rows (tokens), H hidden.
enum SelfAttention {
  case binary(Attention)
  case full(FullPrecisionAttention)

  init(
    _ places: AttentionPlaces, configuration: ModelConfiguration, sequences: Int, length: Int,
    dropoutPlace: Int, in arena: inout Arena
  ) {
    if let steps = places.steps {
      self = .binary(
        Attention(
          places, steps: steps, configuration: configuration, sequences: sequences, length: length,
          dropoutPlace: dropoutPlace, in: &arena))
    } else {
      self = .full(
        FullPrecisionAttention(
          places, configuration: configuration, sequences: sequences, length: length,
          dropoutPlace: dropoutPlace, in: &arena))
    }
  }

  /// x: N×H → context: N×H.
  func forward(_ x: MatrixView, _ pass: Pass, into context: MatrixView) {
    switch self {
    case .binary(let attention): attention.forward(x, pass, into: context)
    case .full(let attention): attention.forward(x, pass, into: context)
    }
  }

  /// dContext: N×H; adds to dx: N×H and to the parameters' gradients.
  func backward(_ dContext: MatrixView, x: MatrixView, _ pass: BackwardPass, addingTo dx: MatrixView) {
    switch self {
    case .binary(let attention): attention.backward(dContext, x: x, pass, addingTo: dx)
    case .full(let attention): attention.backward(dContext, x: x, pass, addingTo: dx)
    }
  }
}

/// Multi-head self-attention in float32 (Vaswani et al. 2017; Devlin et al. 2019).
///
///     P = softmax(Q Kᵀ / √D + mask)     context = dropout(P) V
///
/// Legend: B sequences, T tokens, N = B·T, H hidden, h heads, D = H/h. Heads are numbered b·h + head.
struct FullPrecisionAttention {
  private let sequences: Int
  private let length: Int
  private let heads: Int
  private let headSize: Int
  private let maps: (query: LinearPlaces, key: LinearPlaces, value: LinearPlaces)
  /// N×H
  let query: MatrixView
  let key: MatrixView
  let value: MatrixView
  /// (B·h·T)×T probabilities, and which of them dropout keeps.
  private let probabilities: MatrixView
  private let keep: BitView
  /// Number of the probabilities' dropout in the network.
  private let dropoutPlace: Int

  init(
    _ places: AttentionPlaces, configuration: ModelConfiguration, sequences: Int, length: Int,
    dropoutPlace: Int, in arena: inout Arena
  ) {
    self.sequences = sequences
    self.length = length
    self.dropoutPlace = dropoutPlace
    heads = configuration.heads
    headSize = configuration.headSize
    maps = (places.query.linear, places.key.linear, places.value.linear)
    let (rows, headRows) = (sequences * length, sequences * length * configuration.heads)
    func matrix(_ rows: Int, _ columns: Int, _ arena: inout Arena) -> MatrixView {
      MatrixView(arena.floats(rows * columns), rows: rows, columns: columns)
    }
    query = matrix(rows, configuration.hiddenSize, &arena)
    key = matrix(rows, configuration.hiddenSize, &arena)
    value = matrix(rows, configuration.hiddenSize, &arena)
    probabilities = matrix(headRows, length, &arena)
    keep = arena.bits(rows: headRows, columns: length)
  }

  /// Of query, key and value.
  var mapNames: [String] { [maps.query.name, maps.key.name, maps.value.name] }

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
  /// - Cost: 6·N·H² + 4·N·T·H operations, N·h·T exponentials.
  func forward(_ x: MatrixView, _ pass: Pass, into context: MatrixView) {
    let (parameters, tokens) = (pass.parameters, pass.tokens)
    maps.query.forward(x, parameters: parameters, into: query)
    maps.key.forward(x, parameters: parameters, into: key)
    maps.value.forward(x, parameters: parameters, into: value)
    parallelFor(sequences) { b, worker in
      for head in 0..<heads {
        let rows = headRows(b, head)
        let own = probabilities[rows: rows]
        attentionProbabilitiesSerial(
          query: part(query, b, head), key: part(key, b, head), length: Int(tokens.lengths[b]), into: own)
        pass.mode.dropout?.draw(
          place: dropoutPlace, part: head, epoch: tokens.epoch, sample: tokens.sampleIDs[b],
          into: keep[rows: rows])
        let dropped = droppedProbabilities(rows, pass, worker: worker)
        denseProductSerial(.plain(dropped), .plain(part(value, b, head)), into: part(context, b, head))
      }
    }
  }

  /// The probabilities of `rows` after dropout; with dropout in the memory of the thread.
  private func droppedProbabilities(_ rows: Range<Int>, _ pass: Pass, worker: Int) -> MatrixView {
    guard let dropout = pass.mode.dropout else { return probabilities[rows: rows] }
    let dropped = pass.scratch.attention.workers[worker].binaryProbabilities
    dropped.dense.copy(from: probabilities[rows: rows].dense)
    dropout.applySerial(keep[rows: rows], to: dropped.dense)
    return dropped
  }

  /// dContext: N×H; adds to dx: N×H and to the parameters' gradients.
  ///
  /// - Cost: 12·N·H² + 8·N·T·H operations.
  func backward(_ dContext: MatrixView, x: MatrixView, _ pass: BackwardPass, addingTo dx: MatrixView) {
    let scratch = pass.scratch.attention
    parallelFor(sequences) { b, worker in
      for head in 0..<heads { headBackward(b, head, dContext, pass, worker: worker) }
    }
    func projectionBackward(_ map: LinearPlaces, _ d: MatrixView) {
      map.backward(d, x: x, parameters: pass.parameters, gradients: pass.gradients, addingTo: dx)
    }
    projectionBackward(maps.query, scratch.query)
    projectionBackward(maps.key, scratch.key)
    projectionBackward(maps.value, scratch.value)
  }

  /// Gradients of Q, K and V of one head into the scratch.
  private func headBackward(_ b: Int, _ head: Int, _ dContext: MatrixView, _ pass: BackwardPass, worker: Int)
  {
    let scratch = pass.scratch.attention
    let (rows, d, dScores) = (headRows(b, head), part(dContext, b, head), scratch.workers[worker].scores)
    let dropped = droppedProbabilities(rows, pass.forward, worker: worker)
    denseProductSerial(.transposed(dropped), .plain(d), into: part(scratch.value, b, head))
    denseProductSerial(.plain(d), .transposed(part(value, b, head)), into: dScores)
    softmaxBackwardSerial(
      probabilities[rows: rows], keep: pass.dropout == nil ? nil : keep[rows: rows],
      dropoutFactor: pass.dropout?.factor ?? 1, scoreFactor: scoreFactor, gradient: dScores)
    denseProductSerial(.plain(dScores), .plain(part(key, b, head)), into: part(scratch.query, b, head))
    denseProductSerial(.transposed(dScores), .plain(part(query, b, head)), into: part(scratch.key, b, head))
  }
}

/// softmax(Q Kᵀ / √D) of one head over the first `length` keys, zero beyond, on the calling thread alone. Legend: T tokens, D
/// head width.
///
/// - Parameters:
///   - query, key: T×D.
///   - out: T×T, dense.
func attentionProbabilitiesSerial(query: MatrixView, key: MatrixView, length: Int, into out: MatrixView) {
  denseProductSerial(.plain(query), .transposed(key), into: out)
  softmaxSerial(out, extra: nil, length: length, factor: 1 / Float(query.columns).squareRoot())
}
