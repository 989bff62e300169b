import BinaryModel
import Collectives
import Kernels
import Parameters

/// The gradient of the lane at work, on its way into the sum of all lanes.
///
/// That of the word embedding, and where the format takes matrices by slice those of the binary matrices, go into the sum as soon
/// as backward has made a block of them; all else is kept in float32 until the lane is done.
public struct LaneGradient: ~Copyable {
  /// Flat; holds what is kept, zero at the beginning of a lane.
  public let values: FloatBuffer
  /// Take what `values` does not.
  public let sinks: GradientSinks
  private let sum: GradientSum
  /// The elements that `values` holds, in flat order.
  private let kept: [Range<Int>]

  /// - Cost: virtual memory of 4·E bytes; `keptCount` says how much of it is used.
  public init<Goal>(_ layout: ModelLayout<Goal>, format: GradientFormat, into sum: GradientSum) {
    self.sum = sum
    values = FloatBuffer(count: layout.parameters.elementCount)
    sinks = GradientSinks(matrices: format.takesMatricesBySlice ? sum : nil, words: sum)
    kept = Self.kept(layout, format)
    if let last = kept.last { values.useSmallPages(0..<last.lowerBound) }
  }

  private static func kept<Goal>(_ layout: ModelLayout<Goal>, _ format: GradientFormat) -> [Range<Int>] {
    var ranges: [Range<Int>] = []
    for parameter in layout.parameters.parameters where parameter.range != layout.words {
      if parameter.kind == .binaryMatrix && format.takesMatricesBySlice { continue }
      if let last = ranges.last, last.upperBound == parameter.range.lowerBound {
        ranges[ranges.count - 1] = last.lowerBound..<parameter.range.upperBound
      } else {
        ranges.append(parameter.range)
      }
    }
    return ranges
  }

  /// Elements that are kept in float32.
  public static func keptCount<Goal>(_ layout: ModelLayout<Goal>, _ format: GradientFormat) -> Int {
    kept(layout, format).elementCount
  }

  /// A slice of the lane is done.
  public func endSlice() { sum.note() }

  /// The lane is done: all of it goes into the sum, and `values` is zero again, for the next one.
  public func endLane() {
    for range in kept { sum.add(values.view[range], at: range) }
    sum.note()
  }
}
