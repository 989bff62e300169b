import Kernels

/// The binary weights of a model as the products use them: m·sign(w − mean(w)), m = mean|w| (METHOD, "Binarisers").
///
/// Legend: O outputs, I inputs of one matrix, V vocabulary, H hidden.
struct PackedWeights: ~Copyable {
  private var arena = Arena()
  /// O×I signs of each matrix, plain (backward) and interleaved (forward).
  let signs: [BitView]
  let interleaved: [InterleavedView]
  /// m of each matrix.
  private(set) var scales: [Float]
  /// mean(w) over the word embedding.
  private(set) var tableMean: Float = 0

  init(_ places: ModelPlaces) {
    var signs: [BitView] = []
    var interleaved: [InterleavedView] = []
    for linear in places.binaryLinears {
      signs.append(arena.bits(rows: linear.outputs, columns: linear.inputs))
      interleaved.append(arena.interleavedBits(rows: linear.outputs, columns: linear.inputs))
    }
    self.signs = signs
    self.interleaved = interleaved
    scales = Array(repeating: 0, count: signs.count)
  }

  /// Packs the latent weights of the flat buffer `parameters`.
  ///
  /// - Cost: two passes over the binary matrices, one over the word embedding; no allocation.
  mutating func binarise(_ parameters: FloatView, _ places: ModelPlaces) {
    for linear in places.binaryLinears {
      let weight = parameters[linear.weight]
      let (mean, magnitude) = WeightStatistics.means(parameters, linear.weight)
      scales[linear.index] = magnitude
      withUnsafeTemporaryAllocation(of: Float.self, capacity: linear.inputs) { shift in
        shift.initialize(repeating: -mean)
        pack(
          MatrixView(weight, rows: linear.outputs, columns: linear.inputs),
          shift: FloatView(base: shift.baseAddress!, count: linear.inputs), step: 0,
          signs: signs[linear.index],
          within: nil)
      }
      interleaved[linear.index].interleave(signs[linear.index])
    }
    tableMean = WeightStatistics.mean(parameters, places.wordEmbeddings)
  }
}

/// Means over a tensor, summed in the fixed chunks of the flat buffer, so that owners of parts of it can add theirs up
/// to the same bits.
public enum WeightStatistics {
  /// Elements of a chunk of the flat buffer.
  public static let chunk = 65_536

  /// mean(w) and mean|w| of the elements `range` of the flat buffer.
  ///
  /// - Cost: one pass, in parallel over chunks.
  public static func means(_ buffer: FloatView, _ range: Range<Int>) -> (mean: Float, magnitude: Float) {
    let sum = total(buffer, range) { $0.sum() }
    let absolute = total(buffer, range) { $0.sumOfAbsolutes() }
    return (Float(sum / Double(range.count)), Float(absolute / Double(range.count)))
  }

  /// mean(w) of the elements `range` of the flat buffer.
  public static func mean(_ buffer: FloatView, _ range: Range<Int>) -> Float {
    Float(total(buffer, range) { $0.sum() } / Double(range.count))
  }

  private static func total(_ buffer: FloatView, _ range: Range<Int>, _ part: (FloatView) -> Double) -> Double
  {
    let first = range.lowerBound / chunk
    let count = (range.upperBound + chunk - 1) / chunk - first
    return withUnsafeTemporaryAllocation(of: Double.self, capacity: count) { sums in
      parallelFor(count) { index, _ in
        let piece = range.clamped(to: (first + index) * chunk..<(first + index + 1) * chunk)
        sums[index] = part(buffer[piece])
      }
      return sums.reduce(0, +)
    }
  }
}
