import BinaryModel
import Collectives
import Parameters
import RunSettings

/// What the ranks send each other in an update: which parts, in which form, and how many bytes that makes. The update
/// goes by it, and the plan of a run counts with it.
///
/// Legend: W ranks, E elements of the flat vector.
public struct UpdateExchange: Sendable {
  public let synchronisation: Synchronisation
  public let format: WireFormat
  public let tree: LaneTree
  public let partition: SlicePartition
  public let packed: PackedLayout
  /// Of each rank, in bytes: the sums of its pieces, its part of the stream of signs, and its real-valued parameters in the
  /// flat vector. Nothing where the state is replicated.
  public let sumParts: [[Range<Int>]]
  public let signParts: [[Range<Int>]]
  public let realParts: [[Range<Int>]]

  public init(
    layout: ParameterLayout, tree: LaneTree, size: Int, synchronisation: Synchronisation, format: WireFormat
  ) {
    self.synchronisation = synchronisation
    self.format = format
    self.tree = tree
    let packed = PackedLayout(layout)
    self.packed = packed
    partition = SlicePartition(count: layout.elementCount, size: size)
    let slices = synchronisation == .sharded ? partition.slices : []
    func bytes(_ ranges: [Range<Int>], width: Int) -> [Range<Int>] {
      ranges.map { $0.lowerBound * width..<$0.upperBound * width }
    }
    sumParts = slices.map {
      bytes($0.map { packed.pieces(in: $0) }, width: PackedLayout.PieceSums.size)
    }
    signParts = slices.map { $0.flatMap { packed.signRanges(in: $0) } }
    realParts = slices.map {
      bytes($0.flatMap { packed.realRanges(in: $0) }, width: MemoryLayout<Float>.size)
    }
  }

  // MARK: What a rank holds

  /// The elements that `rank` updates, and has the moments of, as runs in flat order.
  public func updated(by rank: Int) -> [Range<Int>] {
    synchronisation == .sharded ? partition.slice(of: rank) : [0..<partition.count]
  }

  /// The elements of the flat vector that `rank` ever reads or writes.
  public func heldWeights(of rank: Int) -> Int {
    func latent(_ runs: [Range<Int>]) -> Int {
      runs.flatMap { packed.latentRanges(in: $0) }.elementCount
    }
    return partition.count - latent([0..<partition.count]) + latent(updated(by: rank))
  }

  /// Gradients of the whole vector that `rank` holds at once.
  public func gradientBuffers(of rank: Int) -> Int {
    TreeAccumulator(tree: tree, lanes: tree.lanes(of: rank, size: partition.size), count: 1).bufferCount
  }

  /// What adds the gradients up.
  public func reduction(of rank: Int) -> TreeReduction {
    TreeReduction(
      tree: tree, size: partition.size, buckets: partition.buckets, rank: rank, format: format)
  }

  /// Bytes of what is on its way.
  public func bufferBytes(of rank: Int) -> Int {
    reduction(of: rank).byteCount
      + packed.pieces.count * PackedLayout.PieceSums.size
  }

  // MARK: What a rank sends

  /// Elements that each rank owns.
  public var ownedCounts: [Int] { partition.slices.map(\.elementCount) }

  /// Subtrees of the gradient that each rank sends.
  public var nodeCounts: [Int] {
    (0..<partition.size).map { tree.maximalNodes(of: tree.lanes(of: $0, size: partition.size)).count }
  }

  /// The exchanges of the gradient, one after the other: how many elements each owner gets from all.
  public var gradientRounds: [[Int]] { partition.buckets.map { $0.map(\.count) } }

  /// Bytes that `rank` sends in an update.
  public func traffic(of rank: Int) -> RunPlan.Traffic {
    let size = partition.size
    let nodes = tree.maximalNodes(of: tree.lanes(of: rank, size: size)).count
    var traffic = RunPlan.Traffic()
    traffic.gradients = nodes * (partition.count - partition.slice(of: rank).elementCount) * format.width
    // In a ring a rank passes on all parts but the next rank's.
    func ring(_ own: (Int) -> Int) -> Int {
      (0..<size).reduce(0) { $0 + own($1) } - own((rank + 1) % size)
    }
    func bytes(_ parts: [[Range<Int>]]) -> Int { ring { parts[$0].elementCount } }
    let chunks = (0..<size).map { partition.slice(of: $0).map { partition.chunkIndices(in: $0) } }
    traffic.sums = ring { chunks[$0].elementCount * MemoryLayout<Double>.size }
    switch synchronisation {
    case .sharded:
      traffic.sums += bytes(sumParts)
      traffic.signs = bytes(signParts)
      traffic.values = bytes(realParts)
    case .replicated:
      traffic.values = ring { partition.slice(of: $0).elementCount * MemoryLayout<Float>.size }
    }
    return traffic
  }
}

extension [Range<Int>] {
  /// Elements of all ranges together.
  public var elementCount: Int { reduce(0) { $0 + $1.count } }
}
