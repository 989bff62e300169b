import Kernels

/// The gradient of a step, added up over all lanes of all ranks as integers.
///
/// A step goes `clear`, `add` and `note` of every lane, or of every slice of one, `agree`; if the powers of two had to be raised, all
/// of that once more; then `reduce`, `read`, and `follow`. The powers, the same on all ranks, are part of a run's state.
public final class GradientSum: GradientSink {
  private let parts: [any PartSum]
  private let bucketCount: Int
  private let hosts: HostLayout

  /// Zero, for a vector that the ranks share as `partition` says.
  ///
  /// - Parameters:
  ///   - parts: they have no element in common.
  ///   - isReplicated: every rank gets all totals.
  /// - Cost: memory of the parts' integers, and of those of a bucket twice.
  public init(
    parts: [GradientPart], partition: SlicePartition, hosts: HostLayout, rank: Int, isReplicated: Bool
  ) {
    bucketCount = partition.bucketCount
    self.hosts = hosts
    self.parts = parts.map { part in
      func sum<Integer: SummedInteger>(_: Integer.Type) -> any PartSum {
        IntegerPartSum<Integer>(
          part, partition: partition, hosts: hosts, rank: rank, isReplicated: isReplicated)
      }
      return part.width == 2 ? sum(UInt16.self) : sum(UInt32.self)
    }
  }

  /// Forgets all lanes.
  public func clear() {
    for part in parts { part.clear() }
  }

  /// Adds the elements `range` of a gradient, which cut no piece; `gradient` holds these alone, and becomes 0.
  public func add(_ gradient: FloatView, at range: Range<Int>) {
    for part in parts { part.add(gradient, at: range) }
  }

  /// A block of a matrix.
  public func add(
    _ values: UnsafeMutablePointer<Float>, valueStride: Int, rows: Int, columns: Int, at start: Int,
    stride: Int
  ) {
    let part = parts.first { $0.contains(start) }!
    part.add(values, valueStride: valueStride, rows: rows, columns: columns, at: start, stride: stride)
  }

  /// Of the tensor in the elements `range` only some blocks may follow.
  public func beginPart(of range: Range<Int>) {
    for part in parts { part.beginPart(of: range) }
  }

  /// What was added since the last time is one lane, or part of one: it counts in what bounds the sums.
  public func note() {
    for part in parts { part.note() }
  }

  /// Finds out, for all ranks alike, whether the sums of this step fit. Collective.
  public func agree(world: borrowing World) throws(WorldError) -> SumAgreement {
    for part in parts { part.complete() }
    var words = parts.flatMap { $0.words }
    try world.sum(&words)
    var start = 0
    var isFinite = true
    for part in parts {
      let count = part.words.count
      if !part.takeBounds(Array(words[start..<start + count])) { isFinite = false }
      start += count
    }
    if !isFinite { return .notFinite }
    var isRaised = false
    for part in parts where part.raise() { isRaised = true }
    return isRaised ? .raised : .fits
  }

  /// Adds up what the ranks have: each gets the totals of the elements that it owns, or of all. Collective.
  ///
  /// - Parameter begin: told the number of each bucket before it is exchanged, last buckets first.
  public func reduce(world: borrowing World, begin: (_ bucket: Int) -> Void = { _ in }) throws(WorldError) {
    guard world.size > 1 else { return }
    let peers = try world.meetOnHost(parts.map(\.memory), in: hosts)
    for bucket in (0..<bucketCount).reversed() {
      begin(bucket)
      for (part, peers) in zip(parts, peers) { try part.reduce(bucket: bucket, peers: peers, world: world) }
    }
    try world.partOnHost()
  }

  /// The total of the elements `range`, which cut no piece, as float32; 0 between tensors. On the calling thread alone.
  public func read(_ range: Range<Int>, into values: FloatView) {
    precondition(values.count == range.count, "\(values.count) elements for \(range)")
    values.fill(0)
    for part in parts { part.read(range, into: values) }
  }

  /// The powers of the next step, after the step number `step`.
  public func follow(step: Int) {
    for part in parts { part.follow(step: step) }
  }

  // MARK: The powers

  /// The powers as text.
  public var powers: String { parts.map { $0.powers.text }.joined(separator: " / ") }

  /// Takes powers that `powers` gave before; returns false, and takes none, where they are those of another sum.
  public func restore(powers text: String) -> Bool {
    let texts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard texts.count == parts.count else { return false }
    var all: [SumPowers] = []
    for (part, text) in zip(parts, texts) {
      guard let powers = SumPowers(text: String(text), count: part.powers.exponents.count) else {
        return false
      }
      all.append(powers)
    }
    for (part, powers) in zip(parts, all) { part.powers = powers }
    return true
  }

  /// Makes all powers too small by as much; for tests.
  public func lowerPowers(by difference: Int) {
    for part in parts { part.powers.lower(by: difference) }
  }
}

/// What all ranks found out about the sums of a step.
public enum SumAgreement: Equatable, Sendable {
  case fits
  /// A gradient is not finite, or too large for any power.
  case notFinite
  /// Some power was too small. It is larger now, and the sums have to be made again.
  case raised
}

/// `GradientSum` of one part.
private protocol PartSum: GradientSink {
  var powers: SumPowers { get set }
  /// What bounds this rank's sums, as words that add up over the ranks.
  var words: [UInt64] { get }
  func clear()
  func complete()
  func contains(_ element: Int) -> Bool
  func add(_ gradient: FloatView, at range: Range<Int>)
  /// Takes what bounds all ranks' sums; returns whether all is finite.
  func takeBounds(_ words: [UInt64]) -> Bool
  func raise() -> Bool
  /// Where the integers are.
  var memory: UnsafeMutableRawPointer { get }
  func reduce(bucket: Int, peers: PeerMemory, world: borrowing World) throws(WorldError)
  func read(_ range: Range<Int>, into values: FloatView)
  func follow(step: Int)
}

private final class IntegerPartSum<Integer: SummedInteger>: PartSum {
  var powers: SumPowers
  private var sum: ExactSum<Integer>
  /// What bounds the sums of all ranks.
  private var bounds: SumBounds
  private let part: GradientPart
  private let reduction: IntegerReduction<Integer>

  init(
    _ part: GradientPart, partition: SlicePartition, hosts: HostLayout, rank: Int, isReplicated: Bool
  ) {
    self.part = part
    powers = SumPowers(count: part.pieces.ranges.count)
    sum = ExactSum(count: partition.count, pieces: part.pieces)
    bounds = SumBounds(count: part.pieces.ranges.count)
    reduction = IntegerReduction(
      layout: hosts, rank: rank, buckets: part.owned(partition), isReplicated: isReplicated)
  }

  var words: [UInt64] { sum.bounds.words }

  func clear() { sum.clear() }

  func beginPart(of range: Range<Int>) { sum.beginPart(of: range) }

  func complete() { sum.complete() }

  func contains(_ element: Int) -> Bool { part.contains(element) }

  func add(_ gradient: FloatView, at range: Range<Int>) { sum.add(gradient, at: range, powers: powers) }

  func add(
    _ values: UnsafeMutablePointer<Float>, valueStride: Int, rows: Int, columns: Int, at start: Int,
    stride: Int
  ) {
    sum.addBlock(
      values, valueStride: valueStride, rows: rows, columns: columns, at: start, stride: stride,
      powers: powers)
  }

  func note() { sum.note(powers: powers) }

  func takeBounds(_ words: [UInt64]) -> Bool {
    bounds.words = words
    return bounds.isFinite
  }

  func raise() -> Bool { powers.raise(for: bounds, pieces: part.pieces, largest: Integer.largestTotal) }

  var memory: UnsafeMutableRawPointer { UnsafeMutableRawPointer(sum.sums.baseAddress!) }

  func reduce(bucket: Int, peers: PeerMemory, world: borrowing World) throws(WorldError) {
    try world.reduce(sum.sums, with: reduction, bucket: bucket, peers: peers)
  }

  func read(_ range: Range<Int>, into values: FloatView) { sum.read(range, powers: powers, into: values) }

  func follow(step: Int) {
    powers.follow(bounds, pieces: part.pieces, largest: Integer.largestTotal, step: step)
  }
}
