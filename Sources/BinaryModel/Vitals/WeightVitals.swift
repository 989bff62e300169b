import Kernels
import Parameters

/// Vital signs of the binary weights. The matrices of each layer count together, those of the pooler not.
extension Model {
  /// Buckets of a tenth of mean|w|; the last holds all beyond.
  public static var distanceBuckets: Int { 30 }

  /// Binary matrices of one layer.
  private var matricesPerLayer: Int {
    (weights.layout.matrices.count - 1) / layout.configuration.layers
  }

  /// The matrices of a layer, by their numbers.
  private func matrices(of layer: Int) -> Range<Int> {
    layer * matricesPerLayer..<(layer + 1) * matricesPerLayer
  }

  /// Of each layer how many signs differ from `earlier`, a copy of `signBytes`, and how many there are.
  ///
  /// - Cost: one pass over the signs.
  public func flippedSigns(since earlier: [UInt8]) -> [(flipped: Int, all: Int)] {
    precondition(earlier.count == signBytes.count, "\(earlier.count) bytes of signs")
    return (0..<layout.configuration.layers).map { layer in
      var (flipped, all) = (0, 0)
      for matrix in weights.layout.matrices[matrices(of: layer)] {
        let first = matrix.firstWord * 8
        // A matrix's bits end within a word; what is behind them never changes.
        for byte in first..<first + (matrix.range.count + 7) / 8 {
          flipped += (signBytes[byte] ^ earlier[byte]).nonzeroBitCount
        }
        all += matrix.range.count
      }
      return (flipped, all)
    }
  }

  /// Of each layer how many of the latent weights in `slices` are so far from their matrix's mean: layers × buckets.
  ///
  /// - Cost: one pass over them, in parallel over the matrices.
  public func distanceCounts(of slices: [Range<Int>], _ parameters: FloatView) -> [Int] {
    let buckets = Self.distanceBuckets
    let used = matricesPerLayer * layout.configuration.layers
    var counts = [Int](repeating: 0, count: used * buckets)
    counts.withUnsafeMutableBufferPointer { counts in
      nonisolated(unsafe) let counts = counts
      parallelFor(used) { index, _ in
        let matrix = weights.layout.matrices[index]
        let (mean, scale) = weights.centre(of: index)
        guard scale > 0 else { return }
        for slice in slices {
          for element in matrix.range.clamped(to: slice) {
            let distance = abs(parameters.base[element] - mean) / scale * 10
            counts[index * buckets + (distance < Float(buckets - 1) ? Int(distance) : buckets - 1)] += 1
          }
        }
      }
    }
    return (0..<layout.configuration.layers).flatMap { layer in
      (0..<buckets).map { bucket in matrices(of: layer).reduce(0) { $0 + counts[$1 * buckets + bucket] } }
    }
  }

  /// α of each binariser by its name, without what all names share.
  public func stepSizes(_ parameters: FloatView) -> [(name: String, value: Float)] {
    layout.parameters.parameters.filter { $0.kind == .stepSize }.map {
      var name = $0.name
      for part in ["bert.", "encoder.", "attention.self."] {
        if let range = name.firstRange(of: part) { name.removeSubrange(range) }
      }
      return (name, parameters[$0.offset])
    }
  }
}
