import Kernels

/// The gradient of a step, added up over all lanes of all ranks as integers.
///
/// A step goes `clear`, `add` and `note` of every lane, or of every slice of one, `agree`; if the powers of two had to be raised, all
/// of that once more; then `reduce`, `read`, and `follow`. The powers are part of a run's state.
public protocol GradientSum: GradientSink {
  /// The powers of two, the same on all ranks.
  var powers: SumPowers { get set }

  /// Forgets all lanes.
  func clear()
  /// Adds the elements `range` of a gradient, which cut no piece; `gradient` holds these alone.
  func add(_ gradient: FloatView, at range: Range<Int>)
  /// What was added since the last time is one lane, or a slice of one: it counts in what bounds the sums.
  func note()
  /// Finds out, for all ranks alike, whether the sums of this step fit. Collective.
  func agree(world: borrowing World) throws(WorldError) -> SumAgreement
  /// Adds up what the ranks have: each gets the totals of the elements that it owns, or, `replicated`, of all. Collective.
  ///
  /// - Parameter begin: told the number of each bucket before it is exchanged.
  func reduce(world: borrowing World, begin: (_ bucket: Int) -> Void) throws(WorldError)
  /// The total of the elements `range`, which cut no piece, as float32; 0 between tensors. On the calling thread alone.
  func read(_ range: Range<Int>, into values: FloatView)
  /// The powers of the next step, after the step number `step`.
  func follow(step: Int)
}

/// What all ranks found out about the sums of a step.
public enum SumAgreement: Equatable, Sendable {
  case fits
  /// A gradient is not finite, or too large for any power.
  case notFinite
  /// Some power was too small. It is larger now, and the sums have to be made again.
  case raised
}

extension GradientFormat {
  /// Zero sums for a vector that the ranks share as `partition` says.
  ///
  /// - Parameter isReplicated: every rank gets all totals.
  public func makeSum(
    pieces: SumPieces, partition: SlicePartition, hosts: HostLayout, rank: Int, isReplicated: Bool
  ) -> any GradientSum {
    func sum<Integer: SummedInteger>(_: Integer.Type) -> any GradientSum {
      IntegerGradientSum<Integer>(
        pieces: pieces, partition: partition, hosts: hosts, rank: rank, isReplicated: isReplicated)
    }
    return switch self {
    case .int32: sum(UInt32.self)
    case .int16: sum(UInt16.self)
    }
  }
}

extension GradientFormat {
  /// Bytes that a reduce-scatter needs besides the sums.
  public func reductionBytes(buckets: [[Range<Int>]]) -> Int {
    switch self {
    case .int32: IntegerReduceScatter<UInt32>.byteCount(buckets: buckets)
    case .int16: IntegerReduceScatter<UInt16>.byteCount(buckets: buckets)
    }
  }
}

/// `GradientSum` in one kind of integer.
private final class IntegerGradientSum<Integer: SummedInteger>: GradientSum {
  var powers: SumPowers
  private var sum: ExactSum<Integer>
  /// What bounds the sums of all ranks.
  private var bounds: SumBounds
  private let partition: SlicePartition
  /// Nil where every rank gets all totals.
  private let reduction: IntegerReduceScatter<Integer>?

  init(pieces: SumPieces, partition: SlicePartition, hosts: HostLayout, rank: Int, isReplicated: Bool) {
    powers = SumPowers(count: pieces.ranges.count)
    sum = ExactSum(count: partition.count, pieces: pieces)
    bounds = SumBounds(count: pieces.ranges.count)
    self.partition = partition
    reduction =
      isReplicated ? nil : IntegerReduceScatter(layout: hosts, rank: rank, buckets: partition.buckets)
  }

  func clear() { sum.clear() }

  func add(_ gradient: FloatView, at range: Range<Int>) { sum.add(gradient, at: range, powers: powers) }

  func add(
    _ values: UnsafePointer<Float>, valueStride: Int, rows: Int, columns: Int, at start: Int, stride: Int
  ) {
    sum.addBlock(
      values, valueStride: valueStride, rows: rows, columns: columns, at: start, stride: stride,
      powers: powers)
  }

  func note() { sum.note(powers: powers) }

  func agree(world: borrowing World) throws(WorldError) -> SumAgreement {
    bounds = sum.bounds
    var words = bounds.words
    try world.sum(&words)
    bounds.words = words
    guard bounds.isFinite else { return .notFinite }
    return powers.raise(for: bounds, largest: Integer.largestTotal) ? .raised : .fits
  }

  func reduce(world: borrowing World, begin: (_ bucket: Int) -> Void) throws(WorldError) {
    switch reduction {
    case .some(let reduction): try world.reduceScatter(sum.sums, with: reduction, begin: begin)
    case nil:
      for bucket in (0..<partition.bucketCount).reversed() {
        begin(bucket)
        try world.allReduce(
          UnsafeMutableBufferPointer(rebasing: sum.sums[partition.elements(ofBucket: bucket)]))
      }
    }
  }

  func read(_ range: Range<Int>, into values: FloatView) { sum.read(range, powers: powers, into: values) }

  func follow(step: Int) { powers.follow(bounds, largest: Integer.largestTotal, step: step) }
}
