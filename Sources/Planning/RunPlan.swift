import BinaryModel
import Collectives
import Coordinator
import Kernels
import Parameters
import RunSettings

/// What a run will take, worked out before anything starts.
///
/// Legend: W ranks, V lanes, E elements of a flat parameter buffer.
public struct RunPlan: Equatable, Sendable {
  /// Bytes of one rank.
  public struct Memory: Equatable, Sendable {
    /// Float32 weights: sharded, those that are used as they are and the latent weights that the rank owns; else 4·E.
    public let weights: Int
    /// Signs of the binary matrices, as the products use them.
    public let packed: Int
    /// The two moments of AdamW: 8·E, sharded of the slice that the rank owns.
    public let moments: Int
    /// What is kept of a lane's gradient in float32 (`LaneGradient`), and the sum of all lanes as integers, 4·E or 2·E.
    public let gradients: Int
    /// What is on its way between ranks.
    public let exchange: Int
    /// The block that a checkpoint is written through.
    public let checkpoint: Int
    /// What more a checkpoint takes at most while it is written, on a disk that does not take in the rank's slice of
    /// weights and moments (12·E / W) within a step: the copy of what is left of it. Not counted in `total`.
    public let checkpointCopy: Int
    /// What backward needs of one slice of a micro-batch, and scratch memory, with one thread.
    public let activations: Int
    /// The weights of a teacher of the model's shape, matrices in bfloat16; 0 without.
    public let teacher: Int

    /// What the rank keeps of the model and the optimizer between steps.
    public var state: Int { weights + packed + moments }
    public var total: Int { state + gradients + exchange + checkpoint + activations + teacher }
  }

  /// Bytes that ranks send in a step, by what they are.
  public struct Traffic: Equatable, Sendable {
    public internal(set) var gradients = 0
    /// Parameters in float32.
    public internal(set) var values = 0
    /// Signs of the binary matrices.
    public internal(set) var signs = 0
    /// Sums for the gradient's norm, means and scales, and what bounds the sums of gradients.
    public internal(set) var sums = 0

    public var total: Int { gradients + values + signs + sums }
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
  public let synchronisation: Synchronisation
  public let gradientFormat: GradientFormat
  /// Of the rank that takes most; with replicated state all take about the same.
  public let memory: Memory
  public let replicatedMemory: Memory
  public let steps: Int
  /// Complete steps of an epoch; the samples beyond them are its tail.
  public let stepsPerEpoch: Int
  public let tailSamples: Int
  public let tokensPerStep: Int
  /// Of all ranks together, as `bytes_sent` in measurements.jsonl.
  public let traffic: Traffic
  /// The most that one rank sends, as `bytes_sent_busiest_rank` there.
  public let mostSent: Int
  /// What an all-reduce of the gradient in float32 around a ring sends, all ranks together.
  public let allReduceBytes: Int

  /// Plans a run of the model `model`.
  ///
  /// - Parameter hosts: the ranks, and who shares a host.
  /// - Throws: `PlanningError.worldSize` if `ranks` is not in 1...V.
  public init<Goal: Objective>(
    _ configuration: RunConfiguration, _ model: ModelLayout<Goal>, trainingSamples: Int, hosts: HostLayout
  ) throws(PlanningError) {
    let ranks = hosts.size
    try Self.checkWorldSize(ranks, configuration)
    let lanes = configuration.laneCount
    let layout = model.parameters
    self.ranks = ranks
    self.lanes = lanes
    lanesPerRank = lanes / ranks...(lanes + ranks - 1) / ranks

    let binary = layout.parameters.filter { $0.kind == .binaryMatrix || $0.kind == .binaryTable }
    let scales = binary.reduce(0) { $0 + ($1.kind == .binaryTable ? $1.shape[0] : 1) }
    binaryParameters = binary.reduce(0) { $0 + $1.count }
    realParameters = layout.parameterCount - binaryParameters
    packedModelBytes = (binaryParameters + 7) / 8 + 4 * (realParameters + scales)

    synchronisation = configuration.synchronisation
    gradientFormat = configuration.gradientFormat
    let slice = configuration.sliceSequences(for: model.objective)
    // Takes no memory: pages that are never written are never there.
    let network = Model(
      model, sequences: slice, length: configuration.data.sequenceLength,
      slices: configuration.training.microBatch / slice,
      backwardPrecision: configuration.training.backwardPrecision)
    func exchange(_ synchronisation: Synchronisation) -> UpdateExchange {
      UpdateExchange(
        layout: layout, hosts: hosts, synchronisation: synchronisation, format: configuration.gradientFormat)
    }
    let states = AdamW.stateNames.count
    func memory(_ exchange: UpdateExchange) -> Memory {
      (0..<ranks).map { rank in
        let updated = exchange.updated(by: rank)
        let saved = (1 + states) * 4 * exchange.partition.slice(of: rank).elementCount
        return Memory(
          weights: 4 * exchange.heldWeights(of: rank), packed: network.packedBytes,
          moments: states * 4 * updated.elementCount,
          gradients: 4 * LaneGradient.keptCount(model, exchange.format) + exchange.sumBytes,
          exchange: exchange.bufferBytes(of: rank),
          checkpoint: min(CheckpointSnapshot.blockSize, saved), checkpointCopy: saved,
          activations: network.activationBytes,
          teacher: configuration.hasTeacher ? TeacherWeights.byteCount(model.configuration) : 0)
      }.max { ($0.total, $0.checkpointCopy) < ($1.total, $1.checkpointCopy) }!
    }
    let own = exchange(configuration.synchronisation)
    self.memory = memory(own)
    replicatedMemory = memory(exchange(.replicated))
    let sent = (0..<ranks).map { own.traffic(of: $0) }
    traffic = sent.reduce(into: Traffic()) { total, part in
      total.gradients += part.gradients
      total.values += part.values
      total.signs += part.signs
      total.sums += part.sums
    }
    mostSent = sent.map(\.total).max()!
    allReduceBytes = 2 * (ranks - 1) * 4 * layout.elementCount

    let globalBatch = configuration.training.globalBatch
    steps = configuration.training.steps
    stepsPerEpoch = trainingSamples / globalBatch
    tailSamples = trainingSamples % globalBatch
    tokensPerStep = globalBatch * configuration.data.sequenceLength
  }

  /// How often the run sees each sample; 0 if the corpus has fewer samples than one step takes.
  public var epochs: Double { stepsPerEpoch == 0 ? 0 : Double(steps) / Double(stepsPerEpoch) }

  /// Checks that `ranks` can share the lanes of `configuration`.
  ///
  /// - Throws: `PlanningError.worldSize` if `ranks` is not in 1...V.
  public static func checkWorldSize(_ ranks: Int, _ configuration: RunConfiguration) throws(PlanningError) {
    guard ranks >= 1, ranks <= configuration.laneCount else {
      throw .worldSize(
        ranks: ranks, globalBatch: configuration.training.globalBatch,
        microBatch: configuration.training.microBatch)
    }
  }
}

/// What can be wrong with a plan.
public enum PlanningError: Error, Equatable, CustomStringConvertible, Sendable {
  /// More ranks than a step has micro-batches, or none.
  case worldSize(ranks: Int, globalBatch: Int, microBatch: Int)

  public var description: String {
    switch self {
    case .worldSize(let ranks, let globalBatch, let microBatch):
      let lanes = globalBatch / microBatch
      return
        "\(ranks) \(ranks == 1 ? "rank does" : "ranks do") not fit \(lanes) \(lanes == 1 ? "lane" : "lanes") "
        + "(training.global_batch \(globalBatch) / training.micro_batch \(microBatch)): "
        + (lanes == 1 ? "use 1 rank" : "use 1 to \(lanes) ranks")
    }
  }
}
