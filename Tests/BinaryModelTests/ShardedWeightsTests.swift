import BinaryModel
import Kernels
import Parameters
import Testing

/// Owners of slices of the flat vector binarise together.
@Suite struct ShardedWeightsTests {
  /// Rows that fill no whole words, matrices that chunks cut within words.
  private static let configuration = ModelConfiguration(
    vocabularySize: 2000, hiddenSize: 40, layers: 2, heads: 2, intermediateSize: 2500, maximumLength: 12,
    estimatorRank: 1, dropout: 0)

  /// `count` runs of whole chunks, one of them empty if there are more than two.
  private func slices(_ elements: Int, _ count: Int) -> [Range<Int>] {
    let chunks = (elements + PackedLayout.chunk - 1) / PackedLayout.chunk
    var bounds = (0...count).map { min(elements, $0 * chunks / count * PackedLayout.chunk) }
    if count > 2 { bounds[1] = 0 }
    return (0..<count).map { bounds[$0]..<bounds[$0 + 1] }
  }

  /// The parameters as the owner of `slice` has them: the latent weights of others are no numbers.
  private func parameters(_ layout: ParameterLayout, slice: Range<Int>) -> FloatBuffer {
    let buffer = FloatBuffer(count: layout.elementCount)
    Initialisation.fill(buffer.view, layout: layout, seed: 3)
    for latent in PackedLayout(layout).latentRanges(in: 0..<layout.elementCount) {
      for i in latent { buffer.view[i] = slice.contains(i) ? buffer.view[i] + 0.003 : .nan }
    }
    return buffer
  }

  @Test(arguments: [1, 2, 3, 5]) func ownersHaveTheBitsOfTheWhole(count: Int) {
    let model = ModelLayout(Self.configuration, Pretraining())
    let layout = model.parameters
    let packed = PackedLayout(layout)
    let batch = TinyModel.batch(Self.configuration, sequences: 2, length: 8, seed: 4)
    let whole = parameters(layout, slice: 0..<layout.elementCount)
    var reference = PretrainingModel(model, sequences: 2, length: 8)
    reference.binarise(whole.view)
    let expected = reference.evaluate(whole.view, batch: batch).losses
    let expectedSigns = Array(reference.signBytes)
    #expect(expectedSigns.count == packed.signByteCount)

    let slices = slices(layout.elementCount, count)
    let width = PackedLayout.PieceSums.size
    let sums = FloatBuffer(count: packed.pieces.count * width / 4)
    for slice in slices {
      let pieces = packed.pieces(in: slice)
      let part = PretrainingModel(model, sequences: 2, length: 8)
      let own = parameters(layout, slice: slice)
      let bytes = sums.view.bytes[pieces.lowerBound * width..<pieces.upperBound * width]
      part.sumPieces(pieces, of: own.view, into: UnsafeMutableRawBufferPointer(rebasing: bytes))
    }
    var signs = [UInt8](repeating: 0xFF, count: packed.signByteCount)
    for slice in slices {
      var part = PretrainingModel(model, sequences: 2, length: 8)
      let own = parameters(layout, slice: slice)
      part.packSigns(of: [slice], own.view, sums: sums.view.bytes)
      for range in packed.signRanges(in: slice) {
        signs.replaceSubrange(range, with: part.signBytes[range])
      }
    }
    for slice in slices {
      var part = PretrainingModel(model, sequences: 2, length: 8)
      let own = parameters(layout, slice: slice)
      part.packSigns(of: [slice], own.view, sums: sums.view.bytes)
      // The bytes between matrices are nobody's.
      for other in slices {
        for range in packed.signRanges(in: other) {
          #expect(signs[range].elementsEqual(expectedSigns[range]))
          for byte in range { part.signBytes[byte] = signs[byte] }
        }
      }
      part.arrangeSigns()
      #expect(part.scales == reference.scales)
      let losses = part.evaluate(own.view, batch: batch).losses
      #expect(losses == expected && losses.total.isFinite)
    }
  }

  @Test(arguments: [1, 2, 3, 4, 7]) func slicesTileEverything(count: Int) {
    let layout = ModelLayout(Self.configuration, Pretraining()).parameters
    let packed = PackedLayout(layout)
    let slices = slices(layout.elementCount, count)
    var elements = [Int](repeating: 0, count: layout.elementCount)
    var bytes = [Int](repeating: 0, count: packed.signByteCount)
    for slice in slices {
      for range in packed.latentRanges(in: slice) + packed.realRanges(in: slice) {
        for i in range { elements[i] += 1 }
      }
      for range in packed.signRanges(in: slice) { for i in range { bytes[i] += 1 } }
    }
    #expect(elements.allSatisfy { $0 == 1 })
    #expect(bytes.allSatisfy { $0 <= 1 })
    let latent = layout.parameters.filter { $0.kind == .binaryMatrix }
    #expect(bytes.reduce(0, +) == latent.reduce(0) { $0 + ($1.count + 7) / 8 })
    #expect(slices.flatMap { Array(packed.pieces(in: $0)) } == Array(packed.pieces.indices))
    // Every piece is one owner's and in one chunk; together they are the matrices and the word embedding.
    for piece in packed.pieces {
      #expect(piece.lowerBound / PackedLayout.chunk == (piece.upperBound - 1) / PackedLayout.chunk)
    }
    let summed = layout.parameters.filter { $0.kind == .binaryMatrix || $0.kind == .binaryTable }
    #expect(packed.pieces.reduce(0) { $0 + $1.count } == summed.reduce(0) { $0 + $1.count })
  }
}
