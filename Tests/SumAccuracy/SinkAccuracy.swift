import BinaryModel
import Collectives
import Kernels
import Parameters
import Planning

/// The sum of a step's lanes as a run makes it with int32: the gradients of the binary matrices and of the word embedding come block by
/// block, of the embedding in two parts, all else at the end of a lane.
public final class SinkAccuracy: GradientSink {
  private var sum: ExactSum<UInt32>
  private var powers: SumPowers
  private let kept: [Range<Int>]
  private var steps = 0

  public init<Goal>(_ layout: ModelLayout<Goal>) {
    let parameters = layout.parameters
    let pieces = UpdateExchange(
      layout: parameters, hosts: HostLayout(ranks: 1, perHost: 1), synchronisation: .sharded, format: .int32
    ).parts[0].pieces
    sum = ExactSum(count: parameters.elementCount, pieces: pieces)
    powers = SumPowers(count: pieces.ranges.count)
    kept = parameters.parameters.filter { $0.kind != .binaryMatrix && $0.range != layout.words }.map(\.range)
  }

  /// The total of a step.
  ///
  /// - Parameter train: leaves the gradient of a lane with the sinks, and the rest in the view, which is zero.
  public func step(
    lanes: Int, gradients: FloatView, train: (_ lane: Int, GradientSinks) -> Void
  ) -> [Float] {
    repeat {
      sum.clear()
      for lane in 0..<lanes {
        gradients.fill(0)
        train(lane, GradientSinks(matrices: self, words: self))
        note()
        for range in kept { sum.add(gradients[range], at: range, powers: powers) }
        note()
      }
      sum.complete()
    } while powers.raise(for: sum.bounds, pieces: sum.pieces, largest: UInt32.largestTotal)
    let total = FloatBuffer(count: gradients.count)
    sum.read(0..<gradients.count, powers: powers, into: total.view)
    steps += 1
    powers.follow(sum.bounds, pieces: sum.pieces, largest: UInt32.largestTotal, step: steps)
    return total.view.array
  }

  public func add(
    _ values: UnsafeMutablePointer<Float>, valueStride: Int, rows: Int, columns: Int, at start: Int,
    stride: Int
  ) {
    sum.addBlock(
      values, valueStride: valueStride, rows: rows, columns: columns, at: start, stride: stride,
      powers: powers)
  }

  public func beginPart(of range: Range<Int>) { sum.beginPart(of: range) }

  public func note() { sum.note(powers: powers) }
}
