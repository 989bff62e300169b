import CBitKernels

/// Dropout by counter-based random numbers: which elements are kept is a pure function of the run's seed, the epoch,
/// the sample, the place in the network and the element, so it does not depend on who computes it.
public struct Dropout: Sendable {
  /// Blocks of random numbers that one place has for a sample, 8 elements of a row each: all parts together take no more.
  public static let blockLimit = 1 << 32

  private let key: (UInt32, UInt32)
  /// An element is dropped where its 16 random bits are below this.
  private let threshold: UInt32
  /// What kept elements are multiplied by: 1 / (share kept).
  public let factor: Float

  /// - Parameter rate: the share dropped, rounded to a multiple of 2⁻¹⁶.
  public init(rate: Float, seed: UInt64) {
    precondition(rate > 0 && rate < 1, "a dropout rate of \(rate)")
    let random = CounterRandom(seed: seed, purpose: .dropout)
    key = random.key
    threshold = min(65_535, UInt32((rate * 65_536).rounded()))
    factor = 65_536 / Float(65_536 - threshold)
  }

  /// Draws the bits of elements to keep, for one sample's rows×columns at a place of the network.
  ///
  /// - Parameters:
  ///   - place: the number of the layer of dropout, below 2¹⁶.
  ///   - part: which of several equal matrices at this place (the attention head).
  public func draw(place: Int, part: Int, epoch: UInt32, sample: UInt64, into keep: BitView) {
    let blocks = keep.rows * ((keep.columns + 7) / 8)
    let counter = CounterRandom.counter(place: place, epoch: epoch, sample: sample)
    precondition((part + 1) * blocks <= Self.blockLimit, "dropout of part \(part) of \(blocks) blocks")
    withUnsafeBytes(of: key) { key in
      InstructionSet.table.pointee.dropout_bits(
        key.assumingMemoryBound(to: UInt32.self).baseAddress, UInt32(truncatingIfNeeded: part * blocks),
        counter.0, counter.1, counter.2, threshold, keep.rows, keep.columns, keep.base)
    }
  }

  /// `apply` on the calling thread alone, for use within a parallel loop.
  public func applySerial(_ keep: BitView, to x: FloatView) {
    precondition(x.count == keep.rows * keep.columns, "dropout of \(x.count) by \(keep.rows)×\(keep.columns)")
    InstructionSet.table.pointee.dropout_apply(keep.base, keep.rows, keep.columns, factor, x.base)
  }

  /// x = keep ? factor·x : 0, for dense x of the shape of `keep`.
  public func apply(_ keep: BitView, to x: FloatView) {
    precondition(x.count == keep.rows * keep.columns, "dropout of \(x.count) by \(keep.rows)×\(keep.columns)")
    let kernel = InstructionSet.table.pointee.dropout_apply!
    parallelPanels(keep.rows, 64) { range, _ in
      kernel(
        keep[rows: range].base, range.count, keep.columns, factor, x.base + range.lowerBound * keep.columns)
    }
  }
}
