import Kernels

/// The sum of a rank's lanes as integers: one vector, whatever the number of lanes, in whatever order they come.
///
/// Each lane's gradient is rounded once, to multiples of its pieces' powers of two; from there on everything is exact. A step
/// goes `clear`, `add` of every piece of every lane, then, once the bounds of all ranks fit (`SumPowers.raise`), an exchange of
/// `sums` that adds integers, and `read`.
///
/// - Cost: E integers for a vector of E elements, 8 bytes a piece. No allocation after `init`.
public struct ExactSum<Integer: SummedInteger>: ~Copyable {
  public let pieces: SumPieces
  /// What bounds the sums of this rank's lanes.
  public private(set) var bounds: SumBounds
  private let memory: FloatBuffer
  /// The integers of the whole vector, and perhaps one more.
  public let sums: UnsafeMutableBufferPointer<Integer>
  /// Of each piece, of the lane at hand.
  private var largest: [Float]

  /// Of a vector of `count` elements; zero.
  public init(count: Int, pieces: SumPieces) {
    precondition(pieces.ranges.last?.upperBound ?? 0 <= count, "pieces beyond \(count) elements")
    self.pieces = pieces
    bounds = SumBounds(count: pieces.ranges.count)
    let stride = MemoryLayout<Integer>.stride
    memory = FloatBuffer(count: (count * stride + 3) / 4)
    sums = memory.view.bytes.bindMemory(to: Integer.self)
    largest = [Float](repeating: 0, count: pieces.ranges.count)
  }

  /// Begins a step.
  public mutating func clear() {
    bounds.clear()
    parallelPanels(sums.count, SlicePartition.chunkSize) { panel, _ in
      sums.baseAddress!.advanced(by: panel.lowerBound).update(repeating: 0, count: panel.count)
    }
  }

  /// Adds the elements `range` of a lane's gradient, which cuts no piece; once for each element of each lane.
  ///
  /// - Parameter gradient: of these elements alone.
  /// - Cost: one pass over them.
  public mutating func add(_ gradient: FloatView, at range: Range<Int>, powers: SumPowers) {
    precondition(gradient.count == range.count, "\(gradient.count) elements for \(range)")
    let own = pieces.pieces(in: range)
    largest.withUnsafeMutableBufferPointer { largest in
      let largest = largest.baseAddress
      parallelFor(own.count) { index, _ in
        let piece = own.lowerBound + index
        let elements = pieces.ranges[piece]
        largest![piece] = Integer.add(
          gradient.base + elements.lowerBound - range.lowerBound, count: elements.count,
          power: powers[piece], to: sums.baseAddress! + elements.lowerBound)
      }
    }
    for piece in own { bounds.add(largest[piece], piece: piece, power: powers[piece]) }
  }

  /// The total of the elements `range`, once `sums` holds that of all lanes, as float32. Cuts no piece; between pieces it is 0.
  /// On the calling thread alone.
  public func read(_ range: Range<Int>, powers: SumPowers, into values: FloatView) {
    precondition(values.count == range.count, "\(values.count) elements for \(range)")
    var end = range.lowerBound
    func fillGap(to next: Int) {
      (values.base + end - range.lowerBound).update(repeating: 0, count: next - end)
    }
    for piece in pieces.pieces(in: range) {
      let elements = pieces.ranges[piece]
      fillGap(to: elements.lowerBound)
      Integer.read(
        sums.baseAddress! + elements.lowerBound, count: elements.count, power: powers[piece],
        into: values.base + elements.lowerBound - range.lowerBound)
      end = elements.upperBound
    }
    fillGap(to: range.upperBound)
  }
}
