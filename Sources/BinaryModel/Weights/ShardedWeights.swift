import Kernels
import Parameters

/// Binarising together with the owners of other slices of the flat vector: what `binarise` does, in steps between which
/// the ranks exchange what the others need. The bits are those of `binarise` over the whole vector.
extension Model {
  /// Bytes of the packed weights.
  public var packedBytes: Int { weights.byteCount }

  /// The signs of all latent weights; those of a slice are at `PackedLayout.signRanges`. With `scales` all that the
  /// products know of the binary matrices.
  public var signBytes: UnsafeMutableRawBufferPointer { weights.signBytes }

  /// m = mean|w| of each binary matrix.
  public var scales: [Float] { weights.matrices.map(\.scale) }

  /// Writes the sums of `pieces` (numbers in `PackedLayout.pieces`) to `bytes`, `PackedLayout.PieceSums.size` each.
  ///
  /// - Cost: two passes over the pieces.
  public func sumPieces(
    _ pieces: Range<Int>, of parameters: FloatView, into bytes: UnsafeMutableRawBufferPointer
  ) {
    precondition(
      bytes.count == pieces.count * PackedLayout.PieceSums.size,
      "\(bytes.count) bytes for \(pieces.count) pieces")
    guard !pieces.isEmpty else { return }
    weights.sums(
      of: pieces, parameters, into: bytes.bindMemory(to: PackedWeights.Sums.self).baseAddress!)
  }

  /// Takes the means over from the sums of all pieces, and writes the signs of `slices` to `signBytes`.
  ///
  /// - Cost: one pass over the latent weights of the slices.
  public mutating func packSigns(
    of slices: [Range<Int>], _ parameters: FloatView, sums: UnsafeMutableRawBufferPointer
  ) {
    let all = sums.bindMemory(to: PackedWeights.Sums.self)
    precondition(all.count == weights.layout.pieces.count, "the sums of \(all.count) pieces")
    weights.setMeans(UnsafeBufferPointer(all))
    for slice in slices { weights.packSigns(parameters, slice: slice) }
  }

  /// Makes the matrices of the products from `signBytes`, once that is complete.
  public func arrangeSigns() { weights.arrangeSigns() }
}
