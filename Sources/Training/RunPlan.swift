import BinaryModel

/// What a run will take, worked out before anything starts.
///
/// Legend: W ranks, V lanes, E elements of a flat parameter buffer, L the most lanes of a rank.
public struct RunPlan: Equatable, Sendable {
  /// Bytes of one rank.
  public struct Memory: Equatable, Sendable {
    /// The latent weights: 4·E.
    public let parameters: Int
    /// The gradient, once for each level of the lane tree that a rank may hold: 4·E·(⌊log₂ L⌋ + 1).
    public let gradients: Int
    /// The two moments of AdamW, of which a rank owns 1/W: 8·E / W.
    public let moments: Int
    /// What backward needs of one micro-batch, estimated from the network's shape.
    public let activations: Int
    /// The latent weights of a teacher, taken to be of the model's own shape; 0 without.
    public let teacher: Int

    public var total: Int { parameters + gradients + moments + activations + teacher }
  }

  public let ranks: Int
  public let lanes: Int
  /// The fewest and the most lanes that a rank has.
  public let lanesPerRank: ClosedRange<Int>
  /// Weights used as signs, and all others.
  public let binaryParameters: Int
  public let realParameters: Int
  /// Bytes of the trained model with 1 bit a binary weight, a scale for each matrix and embedding row, float32 else.
  public let packedModelBytes: Int
  public let memory: Memory
  public let steps: Int
  /// Complete steps of an epoch; the samples beyond them are its tail.
  public let stepsPerEpoch: Int
  public let tailSamples: Int
  public let tokensPerStep: Int
  /// Bytes that the busiest rank sends in a step: the reduce-scatter of gradients, then the all-gather of weights,
  /// both in float32.
  public let reduceScatterBytes: Int
  public let allGatherBytes: Int

  /// Plans `configuration` over a corpus with `vocabularySize` tokens and `trainingSamples` samples an epoch.
  ///
  /// - Throws: `TrainingError.worldSize` if `ranks` is not in 1...V.
  public init(
    _ configuration: RunConfiguration, vocabularySize: Int, trainingSamples: Int, ranks: Int
  ) throws(TrainingError) {
    try Self.checkWorldSize(ranks, configuration)
    let lanes = configuration.lanes
    let model = configuration.modelConfiguration(vocabularySize: vocabularySize)
    let layout = ParameterLayout(model)
    self.ranks = ranks
    self.lanes = lanes
    lanesPerRank = lanes / ranks...(lanes + ranks - 1) / ranks

    let binary = layout.parameters.filter { $0.kind == .binaryMatrix || $0.kind == .binaryTable }
    let scales = binary.reduce(0) { $0 + ($1.kind == .binaryTable ? $1.shape[0] : 1) }
    binaryParameters = binary.reduce(0) { $0 + $1.count }
    realParameters = layout.parameterCount - binaryParameters
    packedModelBytes = (binaryParameters + 7) / 8 + 4 * (realParameters + scales)

    let buffer = 4 * layout.elementCount
    let levels = Int.bitWidth - lanesPerRank.upperBound.leadingZeroBitCount
    memory = Memory(
      parameters: buffer, gradients: buffer * levels, moments: 2 * buffer / ranks,
      activations: Self.activationBytes(
        model, sequences: configuration.training.microBatch, length: configuration.data.sequenceLength),
      teacher: configuration.teacher == nil ? 0 : buffer)

    let globalBatch = configuration.training.globalBatch
    steps = configuration.training.steps
    stepsPerEpoch = trainingSamples / globalBatch
    tailSamples = trainingSamples % globalBatch
    tokensPerStep = globalBatch * configuration.data.sequenceLength
    allGatherBytes = buffer / ranks * (ranks - 1)
    reduceScatterBytes = allGatherBytes * Self.mostParts(ranks: ranks, lanes: lanes)
  }

  /// How often the run sees each sample; 0 if the corpus has fewer samples than one step takes.
  public var epochs: Double { stepsPerEpoch == 0 ? 0 : Double(steps) / Double(stepsPerEpoch) }

  /// Checks that `ranks` can share the lanes of `configuration`.
  ///
  /// - Throws: `TrainingError.worldSize` if `ranks` is not in 1...V.
  public static func checkWorldSize(_ ranks: Int, _ configuration: RunConfiguration) throws(TrainingError) {
    guard ranks >= 1, ranks <= configuration.lanes else {
      throw .worldSize(
        ranks: ranks, globalBatch: configuration.training.globalBatch,
        microBatch: configuration.training.microBatch)
    }
  }

  /// The most parts that a rank sends of its gradient: the maximal subtrees (aligned powers of two) in its run of
  /// lanes, where rank r begins at lane ⌊r·V/W⌋.
  private static func mostParts(ranks: Int, lanes: Int) -> Int {
    var most = 1
    for rank in 0..<ranks {
      var (lane, parts) = (rank * lanes / ranks, 0)
      let end = (rank + 1) * lanes / ranks
      while lane < end {
        var width = lane == 0 ? Int.max / 2 + 1 : lane & -lane
        while width > end - lane { width /= 2 }
        lane += width
        parts += 1
      }
      most = max(most, parts)
    }
    return most
  }

  /// Float32 values that a token leaves for backward in a block (the inputs of the block, of both normalisations, of
  /// GELU, the projections, the context, and the probabilities before and after they are binarised), two bits for
  /// each binary operand, and the vocabulary head on 15 % of the tokens.
  private static func activationBytes(_ model: ModelConfiguration, sequences: Int, length: Int) -> Int {
    let tokens = sequences * length
    let (hidden, intermediate) = (model.hiddenSize, model.intermediateSize)
    let floats = 8 * hidden + intermediate + 2 * model.heads * length
    let binaryOperands = 8 * hidden + intermediate + model.heads * length
    let blocks = model.layers * tokens * (4 * floats + binaryOperands / 4)
    let head = (tokens * 3 / 20 + 1) * 4 * (3 * hidden + 2 * model.vocabularySize)
    return blocks + 4 * 2 * tokens * hidden + head
  }
}
