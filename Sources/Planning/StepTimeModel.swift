import BinaryModel
import Collectives
import Foundation
import Parameters
import RunSettings

/// What one core does in a second: what a `StepTimeModel` counts with.
public struct CoreSpeed: Equatable, Sendable {
  /// Tokens that go forward and backward.
  public var tokens: Double
  /// Elements that AdamW updates, whose norm is taken, and of which signs and means are made.
  public var updates: Double
  /// Elements of gradients that are added to others.
  public var additions: Double
  /// Elements of gradients that are rounded to bfloat16.
  public var roundings: Double
  /// Binary weights that are laid out for the products.
  public var arrangements: Double

  public init(
    tokens: Double, updates: Double, additions: Double, roundings: Double, arrangements: Double
  ) {
    self.tokens = tokens
    self.updates = updates
    self.additions = additions
    self.roundings = roundings
    self.arrangements = arrangements
  }
}

/// How a rank reaches the others: it sends and receives at once, each at this speed.
public struct Link: Equatable, Sendable {
  public var bytesPerSecond: Double
  /// Seconds that a message takes besides its bytes.
  public var latency: Double

  /// Seconds of a rank's processor for one of many messages under way at once.
  static let messageSeconds = 2e-6

  public init(bytesPerSecond: Double, latency: Double) {
    self.bytesPerSecond = bytesPerSecond
    self.latency = latency
  }

  /// How long a part of each rank, in bytes, takes around a ring: a rank passes on what it received in the step before, so that
  /// one large part holds up all.
  ///
  /// - Cost: O(W²) for the parts of W ranks.
  public func secondsAroundRing(_ parts: [Int]) -> Double {
    let size = parts.count
    var done = [Double](repeating: 0, count: size)
    for step in 0..<size - 1 {
      let begun = done
      for rank in 0..<size {
        let next = (rank + 1) % size
        let bytes = Double(parts[(rank + size - step) % size])
        let end = max(begun[rank], begun[next]) + latency + bytes / bytesPerSecond
        done[rank] = max(done[rank], end)
        done[next] = max(done[next], end)
      }
    }
    return done.max()!
  }
}

/// How long a step takes, part by part.
///
///     compute  = lanes·(B·T / tokens) + (lanes − 1)·E / additions
///     exchange = reduce-scatter + rings, as `UpdateExchange` plans them
///     update   = updated / updates + (parts − 1)·slice / additions + binary / arrangements
///
/// each of the rank that takes longest, the rates times the threads; bfloat16 also rounds every lane's gradient and every sum of
/// two, and narrows and widens what travels, counted as additions. Parts follow each other: nothing overlaps, and no rank
/// is slower than another of its size.
///
/// Legend: W ranks, V lanes, B sequences of a lane, T tokens, E elements of the flat vector, S parts of a gradient that meet at
/// an owner (W, if each rank's lanes are one subtree).
public struct StepTimeModel: Sendable {
  /// Seconds of a step.
  public struct Time: Equatable, Sendable {
    public var compute = 0.0
    public var exchange = 0.0
    public var update = 0.0
    public var total: Double { compute + exchange + update }
  }

  private let configuration: RunConfiguration
  private let layout: ParameterLayout
  private let core: CoreSpeed
  private let threads: Double

  /// - Parameter threads: of a rank.
  public init(_ configuration: RunConfiguration, vocabularySize: Int, core: CoreSpeed, threads: Int) {
    self.configuration = configuration
    self.core = core
    self.threads = Double(threads)
    layout =
      ModelLayout(
        configuration.modelConfiguration(vocabularySize: vocabularySize), Pretraining()
      ).parameters
  }

  /// Tokens of a step, padding included.
  public var tokensPerStep: Int { configuration.training.globalBatch * configuration.data.sequenceLength }

  /// The time of a step of `ranks`.
  ///
  /// - Precondition: `ranks` is in 1...V.
  /// - Cost: O(W²).
  public func time(
    ranks: Int, link: Link, synchronisation: Synchronisation, format: WireFormat
  ) -> Time {
    let exchange = UpdateExchange(
      layout: layout, tree: LaneTree(laneCount: configuration.lanes), size: ranks,
      synchronisation: synchronisation, format: format)
    var time = Time()
    let lanes = (configuration.lanes + ranks - 1) / ranks
    let laneTokens = Double(configuration.training.microBatch * configuration.data.sequenceLength)
    let additions = core.additions * threads
    time.compute =
      Double(lanes) * laneTokens / (core.tokens * threads)
      + Double((lanes - 1) * layout.elementCount) / additions
    if format == .bfloat16, configuration.lanes > 1 {
      time.compute += Double((2 * lanes - 1) * layout.elementCount) / (core.roundings * threads)
    }
    time.exchange = ranks == 1 ? 0 : Self.seconds(exchange, link: link)
    let slice = exchange.ownedCounts.max()!
    let updated = synchronisation == .sharded ? slice : layout.elementCount
    let parts = exchange.nodeCounts.reduce(0, +)
    time.update =
      Double(updated) / (core.updates * threads)
      + (ranks == 1 ? 0 : Double((parts - 1) * slice) / additions)
      + (ranks == 1 || format == .float32 ? 0 : Double(2 * layout.elementCount) / additions)
      + Double(8 * exchange.packed.signByteCount) / (core.arrangements * threads)
    return time
  }

  /// How much of `ranks` times the speed of one rank is left.
  public func efficiency(_ time: Time, ranks: Int) -> Double {
    let alone = self.time(
      ranks: 1, link: Link(bytesPerSecond: .infinity, latency: 0), synchronisation: .sharded, format: .float32
    )
    return alone.total / (Double(ranks) * time.total)
  }

  // MARK: Exchange

  private static func seconds(_ exchange: UpdateExchange, link: Link) -> Double {
    let size = exchange.partition.size
    var seconds = reduceScatterSeconds(exchange, link: link)
    func ring(_ parts: [[Range<Int>]]) -> Double {
      link.secondsAroundRing(parts.map { $0.reduce(0) { $0 + $1.count } })
    }
    let owned = exchange.ownedCounts
    // The norm: a sum for each chunk.
    seconds += link.secondsAroundRing(
      owned.map { $0 / SlicePartition.chunkSize * MemoryLayout<Double>.size })
    switch exchange.synchronisation {
    case .sharded: seconds += ring(exchange.sumParts) + ring(exchange.signParts) + ring(exchange.realParts)
    case .replicated: seconds += link.secondsAroundRing(owned.map { $0 * MemoryLayout<Float>.size })
    }
    // Numbers of masked tokens, losses, bytes sent: each around the ring, after their lengths. And twice the question
    // whether all go on.
    let few = [Int](repeating: MemoryLayout<Int>.size, count: size)
    let rounds = Double(Int.bitWidth - (size - 1).leadingZeroBitCount)
    return seconds + 3 * link.secondsAroundRing(few) + 5 * rounds * link.latency
  }

  /// Everyone's parts to their owners, round by round; a round takes as long as the rank that sends or receives most.
  private static func reduceScatterSeconds(_ exchange: UpdateExchange, link: Link) -> Double {
    let nodes = exchange.nodeCounts
    let (parts, width) = (nodes.reduce(0, +), exchange.format.width)
    return exchange.gradientRounds.reduce(0) { seconds, owned in
      let (all, owners) = (owned.reduce(0, +), owned.count { $0 > 0 })
      let slowest = zip(nodes, owned).map { own, count in
        let bytes = max(own * (all - count), (parts - own) * count) * width
        let messages = own * (owners - (count > 0 ? 1 : 0)) + (count > 0 ? parts - own : 0)
        return Double(bytes) / link.bytesPerSecond + Double(messages) * Link.messageSeconds
      }
      return seconds + slowest.max()! + link.latency
    }
  }
}
