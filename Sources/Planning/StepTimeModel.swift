import BinaryModel
import Collectives
import Foundation
import Parameters
import RunSettings

/// What one core does in a second: what a `StepTimeModel` counts with.
public struct CoreSpeed: Equatable, Sendable {
  /// Tokens that go forward and backward.
  public var tokens: Double
  /// Elements whose sum is read and squared, that AdamW updates, and of which signs and means are made.
  public var updates: Double
  /// Elements of a lane's gradient that are rounded and added to the integers once it is done.
  public var roundings: Double
  /// Integers of 32 bits that are added to others.
  public var additions: Double
  /// Bytes that are copied.
  public var copies: Double
  /// Binary weights that are laid out for the products.
  public var arrangements: Double

  public init(
    tokens: Double, updates: Double, roundings: Double, additions: Double, copies: Double,
    arrangements: Double
  ) {
    self.tokens = tokens
    self.updates = updates
    self.roundings = roundings
    self.additions = additions
    self.copies = copies
    self.arrangements = arrangements
  }
}

/// How a host reaches the others: it sends and receives at once, each at this speed.
public struct Link: Equatable, Sendable {
  public var bytesPerSecond: Double
  /// Seconds that a message takes besides its bytes.
  public var latency: Double

  public init(bytesPerSecond: Double, latency: Double) {
    self.bytesPerSecond = bytesPerSecond
    self.latency = latency
  }
}

/// How long a step takes, part by part.
///
///     compute  = lanes·(B·T / tokens + kept / roundings)
///     exchange = within hosts: gradients (n−1)/n·G·(1/copies + 1/(4·additions)), of a host with n ranks, and G/places/copies where
///                there are several; signs and values (n−1)/n·bytes/copies
///              + between hosts: (H−1)/H·bytes / link + G·(H−1)/(H·places) / (4·additions) + (H−1)·latency a bucket, or a gather
///              + 2·⌈log₂ W⌉·latency for each of the few small operations of all ranks
///     update   = updated / updates + binary / arrangements
///
/// each of the rank that takes longest, the rates of what a rank does by itself times its threads. Parts follow each other: nothing
/// overlaps, and no rank is slower than another. Within a host ranks read each other's memory, which costs a copy; between hosts all
/// ranks of a host share its link.
///
/// Legend: W ranks, H hosts, n ranks of a host, G bytes of a gradient, V lanes, B sequences of a lane, T tokens; a lane keeps some
/// elements of its gradient until it is done (`LaneGradient`).
public struct StepTimeModel: Sendable {
  /// Seconds of a step.
  public struct Time: Equatable, Sendable {
    public var compute = 0.0
    public var exchange = 0.0
    public var update = 0.0
    public var total: Double { compute + exchange + update }
  }

  private let configuration: RunConfiguration
  private let model: ModelLayout<Pretraining>
  private let core: CoreSpeed
  private let threads: Double

  /// - Parameter threads: of a rank.
  public init(_ configuration: RunConfiguration, vocabularySize: Int, core: CoreSpeed, threads: Int) {
    self.configuration = configuration
    self.core = core
    self.threads = Double(threads)
    model = ModelLayout(configuration.modelConfiguration(vocabularySize: vocabularySize), Pretraining())
  }

  /// Tokens of a step, padding included.
  public var tokensPerStep: Int { configuration.training.globalBatch * configuration.data.sequenceLength }

  /// The time of a step of the ranks on `hosts`.
  ///
  /// - Precondition: there are 1...V ranks.
  public func time(
    hosts: HostLayout, link: Link, synchronisation: Synchronisation, format: GradientFormat
  ) -> Time {
    let exchange = UpdateExchange(
      layout: model.parameters, hosts: hosts, synchronisation: synchronisation, format: format)
    let ranks = hosts.size
    var time = Time()
    let lanes = Double((configuration.laneCount + ranks - 1) / ranks)
    let laneTokens = Double(configuration.training.microBatch * configuration.data.sequenceLength)
    let kept = Double(LaneGradient.keptCount(model, format))
    time.compute = lanes * (laneTokens / core.tokens + kept / core.roundings) / threads
    time.exchange = ranks == 1 ? 0 : seconds(exchange, link: link)
    let updated = synchronisation == .sharded ? exchange.ownedCounts.max()! : model.parameters.elementCount
    time.update =
      (Double(updated) / core.updates + Double(8 * exchange.packed.signByteCount) / core.arrangements)
      / threads
    return time
  }

  /// How much of the ranks' number times the speed of one rank is left.
  public func efficiency(_ time: Time, ranks: Int, format: GradientFormat) -> Double {
    let alone = self.time(
      hosts: HostLayout(ranks: 1, perHost: 1), link: Link(bytesPerSecond: .infinity, latency: 0),
      synchronisation: .sharded, format: format)
    return alone.total / (Double(ranks) * time.total)
  }

  // MARK: Exchange

  private func seconds(_ exchange: UpdateExchange, link: Link) -> Double {
    let hosts = exchange.hosts
    let count = Double(hosts.hosts.count)
    let bytes = Double(exchange.sumBytes)
    let words = bytes / 4
    let largest = Double(hosts.hosts.map(\.count).max()!)
    // Bounds, losses, counts, norm, bytes sent, and twice the question whether all go on.
    let depth = Double(Int.bitWidth - (hosts.size - 1).leadingZeroBitCount)
    let latency = hosts.hosts.count > 1 ? link.latency : 0
    var seconds = 7 * 2 * depth * latency
    switch exchange.synchronisation {
    case .replicated:
      // Around a ring of all ranks, twice; all links between hosts are used at once.
      let share = Double(hosts.size - 1) / Double(hosts.size)
      seconds += 2 * share * bytes * 2 / core.copies + share * words / core.additions
      if count > 1 { seconds += 2 * share * bytes / link.bytesPerSecond }
      seconds += Double(exchange.partition.bucketCount) * 2 * Double(hosts.size - 1) * latency
    case .sharded:
      let share = (largest - 1) / largest
      seconds += share * (bytes / core.copies + words / core.additions) / threads
      if count > 1 {
        seconds += bytes / Double(hosts.places) / core.copies
        let across = (count - 1) / count
        seconds += across * bytes / link.bytesPerSecond
        seconds += across * words / Double(hosts.places) / core.additions
        seconds += Double(exchange.partition.bucketCount) * (count - 1) * link.latency
      }
      for parts in [exchange.sumParts, exchange.signParts, exchange.realParts] {
        let bytes = Double(parts.reduce(0) { $0 + $1.elementCount })
        seconds += share * bytes / core.copies / threads
        if count > 1 {
          seconds += (count - 1) / count * bytes / link.bytesPerSecond + (count - 1) * link.latency
        }
      }
    }
    return seconds
  }
}
