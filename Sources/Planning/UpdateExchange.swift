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
  public let format: GradientFormat
  public let hosts: HostLayout
  public let partition: SlicePartition
  public let packed: PackedLayout
  /// What of a gradient is added in which integers.
  public let parts: [GradientPart]
  /// Of each rank, in bytes: the sums of its pieces, its part of the stream of signs, and its real-valued parameters in the
  /// flat vector. Nothing where the state is replicated.
  public let sumParts: [[Range<Int>]]
  public let signParts: [[Range<Int>]]
  public let realParts: [[Range<Int>]]

  public init(
    layout: ParameterLayout, hosts: HostLayout, synchronisation: Synchronisation, format: GradientFormat
  ) {
    self.synchronisation = synchronisation
    self.format = format
    self.hosts = hosts
    parts = Self.parts(of: layout, format)
    let packed = PackedLayout(layout)
    self.packed = packed
    partition = SlicePartition(count: layout.elementCount, size: hosts.size)
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

  private static func parts(of layout: ParameterLayout, _ format: GradientFormat) -> [GradientPart] {
    func tensors(_ isIncluded: (Parameter) -> Bool) -> [Range<Int>] {
      layout.parameters.filter(isIncluded).map(\.range)
    }
    let others = tensors { $0.kind != .binaryMatrix }
    let parts =
      switch format {
      case .int32: [GradientPart(tensors: tensors { _ in true }, tables: others, width: 4)]
      case .int16:
        [
          GradientPart(tensors: tensors { $0.kind == .binaryMatrix }, width: 2),
          GradientPart(tensors: others, tables: others, width: 4),
        ]
      }
    return parts.filter { !$0.elements.isEmpty }
  }

  /// What adds the gradients of all lanes up.
  public func makeSum(rank: Int) -> GradientSum {
    GradientSum(
      parts: parts, partition: partition, hosts: hosts, rank: rank,
      isReplicated: synchronisation == .replicated)
  }

  /// Bytes of a gradient as integers.
  public var sumBytes: Int { parts.reduce(0) { $0 + $1.elements.elementCount * $1.width } }

  /// Bytes of what is on its way to and from `rank`.
  public func bufferBytes(of rank: Int) -> Int {
    let sums = packed.pieces.count * PackedLayout.PieceSums.size
    guard partition.size > 1 else { return sums }
    let isReplicated = synchronisation == .replicated
    return parts.reduce(sums) { sum, part in
      let buckets = part.owned(partition)
      let bytes =
        part.width == 2
        ? IntegerReduction<UInt16>.byteCounts(hosts, buckets: buckets, of: rank, isReplicated: isReplicated)
        : IntegerReduction<UInt32>.byteCounts(hosts, buckets: buckets, of: rank, isReplicated: isReplicated)
      return sum + bytes.packed + bytes.received
    }
  }

  // MARK: What a rank sends

  /// Elements that each rank owns.
  public var ownedCounts: [Int] { partition.slices.map(\.elementCount) }

  /// Elements of `part` that each rank owns, of each bucket.
  private func ownedCounts(of part: GradientPart) -> [[Int]] {
    part.owned(partition).map { $0.map(\.elementCount) }
  }

  /// Bytes that `rank` sends in an update.
  public func traffic(of rank: Int) -> RunPlan.Traffic {
    let size = partition.size
    var traffic = RunPlan.Traffic()
    let own = partition.slice(of: rank).reduce(0) { $0 + partition.chunkIndices(in: $1).count }
    traffic.sums = own * MemoryLayout<Double>.size * (size - 1)
    // What bounds the sums: a word a piece, and whether all is finite.
    let words = parts.reduce(0) { $0 + $1.pieces.ranges.count + 1 }
    traffic.sums += World.allReduceBytes(words, width: 8, rank: rank, size: size)
    for part in parts {
      for counts in ownedCounts(of: part) {
        traffic.gradients +=
          synchronisation == .sharded
          ? HostShares(hosts, rank: rank, counts: counts).sent * part.width
          : World.allReduceBytes(counts.reduce(0, +), width: part.width, rank: rank, size: size)
      }
    }
    if synchronisation == .sharded {
      func gathered(_ parts: [[Range<Int>]]) -> Int {
        World.gatherBytes(parts.map(\.elementCount), rank: rank, through: hosts)
      }
      traffic.sums += gathered(sumParts)
      traffic.signs = gathered(signParts)
      traffic.values = gathered(realParts)
    }
    return traffic
  }
}

extension [Range<Int>] {
  /// Elements of all ranges together.
  public var elementCount: Int { reduce(0) { $0 + $1.count } }
}
