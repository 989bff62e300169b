import Kernels

/// Memory that the attention of all layers shares. Legend: B sequences, T tokens, N = B·T, H hidden, h heads, D = H/h.
struct AttentionScratch {
  /// N×H: the projections, then their gradients.
  let query: MatrixView
  let key: MatrixView
  let value: MatrixView
  let estimators: EstimatorScratch
  /// 4 sums for each head of each sequence: query, key, value, probability.
  let stepSums: UnsafeMutablePointer<Double>
  /// One for each thread.
  let workers: [Worker]

  struct Worker {
    /// T×T: S_est, then its gradient.
    let estimate: MatrixView
    /// T×T
    let scores: MatrixView
    let binaryProbabilities: MatrixView
    /// T×D
    let operand: MatrixView
    let operandGradient: MatrixView
    /// T
    let rowBias: FloatView
    let valueGradient: FloatView
    /// T×D keys, T×T probabilities, D×T values.
    let keys: InterleavedView
    let probabilityBits: BitView
    let transposedValues: BitView
    let values: InterleavedView
  }

  init(_ configuration: ModelConfiguration, sequences: Int, length: Int, in arena: inout Arena) {
    let rows = sequences * length
    let (hidden, headSize) = (configuration.hiddenSize, configuration.headSize)
    func matrix(_ rows: Int, _ columns: Int, _ arena: inout Arena) -> MatrixView {
      MatrixView(arena.floats(rows * columns), rows: rows, columns: columns)
    }
    query = matrix(rows, hidden, &arena)
    key = matrix(rows, hidden, &arena)
    value = matrix(rows, hidden, &arena)
    estimators = EstimatorScratch(
      rows: rows, rank: max(1, configuration.estimatorRank * configuration.estimatorSets), hidden: hidden,
      in: &arena)
    let sums = arena.floats(sequences * configuration.heads * 4 * 2)
    stepSums = UnsafeMutableRawPointer(sums.base).bindMemory(
      to: Double.self, capacity: sequences * configuration.heads * 4)
    var workers: [Worker] = []
    for _ in 0..<threadCount {
      workers.append(
        Worker(
          estimate: matrix(length, length, &arena), scores: matrix(length, length, &arena),
          binaryProbabilities: matrix(length, length, &arena), operand: matrix(length, headSize, &arena),
          operandGradient: matrix(length, headSize, &arena), rowBias: arena.floats(length),
          valueGradient: arena.floats(length), keys: arena.interleavedBits(rows: length, columns: headSize),
          probabilityBits: arena.bits(rows: length, columns: length),
          transposedValues: arena.bits(rows: headSize, columns: length),
          values: arena.interleavedBits(rows: headSize, columns: length)))
    }
    self.workers = workers
  }
}
