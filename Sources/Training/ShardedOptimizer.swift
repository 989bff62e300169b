import BinaryModel
import Collectives
import Kernels

/// The update of a step, shared among the ranks: each owns a slice of the flat vector, with the moments of AdamW for it.
///
/// Legend: W ranks, E elements of the flat vector, V lanes.
struct ShardedOptimizer: ~Copyable {
  let partition: SlicePartition
  /// The elements that this rank owns.
  let slice: Range<Int>
  let firstMoments: FloatBuffer
  let secondMoments: FloatBuffer
  private let gradient: FloatBuffer
  private let reduction: TreeReduction
  /// The parameters' parts within the slice, and whether weight decay applies.
  private let segments: [(range: Range<Int>, decays: Bool)]

  /// - Cost: memory of 12·E / W bytes.
  init(layout: ParameterLayout, tree: LaneTree, rank: Int, size: Int) {
    partition = SlicePartition(count: layout.elementCount, size: size)
    let slice = partition.slice(of: rank)
    self.slice = slice
    firstMoments = FloatBuffer(count: slice.count)
    secondMoments = FloatBuffer(count: slice.count)
    gradient = FloatBuffer(count: slice.count)
    reduction = TreeReduction(tree: tree, slices: partition.slices, rank: rank)
    segments = layout.parameters.compactMap { parameter in
      let range = parameter.range.clamped(to: slice)
      return range.isEmpty ? nil : (range, parameter.decays)
    }
  }

  /// Adds the lanes' gradients up, clips by the global norm, updates the slice and gathers all slices.
  ///
  /// - Parameters:
  ///   - nodes: this rank's subtree sums of the gradient.
  ///   - parameters: the whole flat vector; all of it is new afterwards.
  ///   - step: the number of the update, from 1.
  ///   - clip: the largest norm; 0 does not clip.
  /// - Returns: the global 2-norm of the gradient before clipping.
  /// - Throws: `TrainingError.notFinite` on all ranks alike, before anything is changed; `WorldError`.
  /// - Cost: sends about 8·E bytes, less the own slice; updates E / W elements.
  func update(
    _ parameters: FloatView, nodes: [(node: LaneTree.Node, view: FloatView)], step: Int, learningRate: Float,
    clip: Float, weightDecay: Float, world: borrowing World
  ) throws -> Float {
    let gradient = gradient.view
    try world.reduceScatter(nodes, with: reduction, into: gradient)
    let chunks = partition.chunks(in: slice)
    var squares = [Double](repeating: 0, count: chunks.count)
    squares.withUnsafeMutableBufferPointer { squares in
      let squares = squares.baseAddress
      parallelFor(chunks.count) { index, _ in
        let chunk = chunks[index]
        let part = gradient[chunk.lowerBound - slice.lowerBound..<chunk.upperBound - slice.lowerBound]
        squares![index] = part.sumOfSquares()
      }
    }
    let norm = try world.sumOfChunks(squares, partition: partition).squareRoot()
    guard norm.isFinite else { throw TrainingError.notFinite(step: step, what: "gradient norm") }
    let factor = clip > 0 && norm > Double(clip) ? Float(Double(clip) / (norm + 1e-6)) : 1
    let step = AdamW(step: step, learningRate: learningRate, gradientFactor: factor)
    for (range, decays) in segments {
      let own = range.lowerBound - slice.lowerBound..<range.upperBound - slice.lowerBound
      step.update(
        parameters[range], gradients: gradient[own], firstMoments: firstMoments.view[own],
        secondMoments: secondMoments.view[own], decay: decays ? weightDecay : 0)
    }
    try world.allGather(parameters, ranges: partition.slices)
    return Float(norm)
  }
}
