import BinaryModel
import Collectives
import Kernels
import Parameters

/// The gradient of the lane at work, on its way into the sum of all lanes.
///
/// Where the format takes matrices by slice, those of the binary matrices go into the sum as soon as backward has made a
/// block of them; all else, and with other formats everything, is kept in float32 until the lane is done.
public struct LaneGradient: ~Copyable {
  /// Flat; holds what is kept, zero at the beginning of a lane.
  public let values: FloatBuffer
  /// Takes the gradients of the binary matrices, if `values` does not.
  public let matrices: (any GradientSink)?
  private let sum: GradientSum
  /// The elements that `values` holds, in flat order.
  private let kept: [Range<Int>]

  /// - Cost: virtual memory of 4·E bytes; `keptCount` says how much of it is used.
  public init(_ layout: ParameterLayout, format: GradientFormat, into sum: GradientSum) {
    self.sum = sum
    values = FloatBuffer(count: layout.elementCount)
    matrices = format.takesMatricesBySlice ? sum : nil
    kept = Self.kept(layout, format)
    if let first = kept.first?.upperBound, let last = kept.last?.lowerBound, first < last {
      values.useSmallPages(first..<last)
    }
  }

  private static func kept(_ layout: ParameterLayout, _ format: GradientFormat) -> [Range<Int>] {
    guard format.takesMatricesBySlice else { return [0..<layout.elementCount] }
    var ranges: [Range<Int>] = []
    for parameter in layout.parameters where parameter.kind != .binaryMatrix {
      if let last = ranges.last, last.upperBound == parameter.range.lowerBound {
        ranges[ranges.count - 1] = last.lowerBound..<parameter.range.upperBound
      } else {
        ranges.append(parameter.range)
      }
    }
    return ranges
  }

  /// Elements that are kept in float32.
  public static func keptCount(_ layout: ParameterLayout, _ format: GradientFormat) -> Int {
    kept(layout, format).elementCount
  }

  /// A slice of the lane is done.
  public func endSlice() {
    if matrices != nil { sum.note() }
  }

  /// The lane is done: all of it goes into the sum, and `values` is zero again, for the next one.
  public func endLane() {
    for range in kept { sum.add(values.view[range], at: range) }
    sum.note()
  }
}
