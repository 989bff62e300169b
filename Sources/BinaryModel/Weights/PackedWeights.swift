import Kernels
import Parameters

/// One binary matrix as the products use it: m·sign(w − mean(w)). Views of `PackedWeights`. Legend: O outputs, I inputs.
struct PackedMatrix {
  /// O×I signs, plain (backward) and interleaved (forward).
  let signs: BitView
  let interleaved: InterleavedView
  /// What a product with these signs is multiplied by: m = mean|w|.
  fileprivate(set) var scale: Float = 0
}

/// The binary weights of a model as the products use them: m·sign(w − mean(w)), m = mean|w| (METHOD, "Binarisers").
///
/// Binarising goes in steps, so that owners of slices of the flat vector can do it together: `sums` of the pieces, `setMeans`
/// from all of them, `packSigns` into the stream of signs, `arrangeSigns` from the whole stream.
///
/// Legend: O outputs, I inputs of one matrix, V vocabulary, H hidden.
struct PackedWeights: ~Copyable {
  typealias Sums = PackedLayout.PieceSums

  let layout: PackedLayout
  private var arena = Arena()
  /// One bit an element of each matrix, in flat order, and a spare word.
  private let stream: UnsafeMutablePointer<UInt64>
  /// By their numbers. Where I fills whole words the plain signs are the stream itself.
  private(set) var matrices: [PackedMatrix]
  /// mean(w) over the word embedding where it is binary, and over each matrix.
  private(set) var tableMean: Float = 0
  private var means: [Float]

  init(_ parameters: ParameterLayout) {
    layout = PackedLayout(parameters)
    stream = arena.words(layout.signByteCount / MemoryLayout<UInt64>.size + 1)
    var matrices: [PackedMatrix] = []
    let binary = parameters.parameters.filter { $0.kind == .binaryMatrix }
    for (matrix, place) in zip(binary, layout.matrices) {
      let (rows, columns) = (matrix.shape[0], matrix.shape[1])
      let signs =
        columns % 64 == 0
        ? BitView(base: stream + place.firstWord, rows: rows, columns: columns)
        : arena.bits(rows: rows, columns: columns)
      matrices.append(
        PackedMatrix(
          signs: signs, interleaved: arena.interleavedBits(rows: rows, columns: columns)))
    }
    self.matrices = matrices
    means = Array(repeating: 0, count: matrices.count)
  }

  /// mean(w) and mean|w| of a matrix.
  func centre(of matrix: Int) -> (mean: Float, scale: Float) { (means[matrix], matrices[matrix].scale) }

  /// Bytes of all packed forms.
  var byteCount: Int { arena.byteCount }

  /// The stream of signs.
  var signBytes: UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(start: stream, count: layout.signByteCount)
  }

  /// Packs the latent weights of the flat buffer `parameters`, all of them.
  ///
  /// - Cost: three passes over the binary matrices, one over the word embedding.
  mutating func binarise(_ parameters: FloatView) {
    let pieces = layout.pieces.indices
    withUnsafeTemporaryAllocation(of: Sums.self, capacity: pieces.count) { all in
      all.initialize(repeating: Sums())
      sums(of: pieces, parameters, into: all.baseAddress!)
      setMeans(UnsafeBufferPointer(all))
    }
    packSigns(parameters, slice: 0..<parameters.count)
    arrangeSigns()
  }

  /// Writes the sums of `pieces`.
  ///
  /// - Cost: two passes over the pieces, in parallel over them.
  func sums(of pieces: Range<Int>, _ parameters: FloatView, into sums: UnsafeMutablePointer<Sums>) {
    parallelFor(pieces.count) { index, _ in
      let piece = pieces.lowerBound + index
      let view = parameters[layout.pieces[piece]]
      sums[index] = Sums(
        weights: view.sum(), absolutes: layout.tablePieces.contains(piece) ? 0 : view.sumOfAbsolutes())
    }
  }

  /// Takes the means over: `all` has the sums of all pieces, which are added in their order.
  mutating func setMeans(_ all: UnsafeBufferPointer<Sums>) {
    func mean(_ pieces: Range<Int>, _ count: Int, _ value: (Sums) -> Double) -> Float {
      Float(pieces.reduce(0) { $0 + value(all[$1]) } / Double(max(1, count)))
    }
    tableMean = mean(layout.tablePieces, layout.table.count) { $0.weights }
    for (index, pieces) in layout.matrixPieces.enumerated() {
      let count = layout.matrices[index].range.count
      means[index] = mean(pieces, count) { $0.weights }
      matrices[index].scale = mean(pieces, count) { $0.absolutes }
    }
  }

  /// Writes the signs of the latent weights in `slice` to the stream: the bit is w − mean(w) ≥ 0.
  ///
  /// - Cost: one pass over them.
  func packSigns(_ parameters: FloatView, slice: Range<Int>) {
    for (index, matrix) in layout.matrices.enumerated() {
      let range = matrix.range.clamped(to: slice)
      if range.isEmpty { continue }
      let start = matrix.range.lowerBound
      pack(
        parameters[range], from: range.lowerBound - start, into: stream + matrix.firstWord,
        shift: -means[index])
    }
  }

  /// Writes the signs of `weights`, the elements from `first` on of a matrix whose stream begins at `words`.
  private func pack(
    _ weights: FloatView, from first: Int, into words: UnsafeMutablePointer<UInt64>, shift: Float
  ) {
    // A first word that begins in another slice is written by bytes, of which each has one owner.
    let head = min(weights.count, (64 - first % 64) % 64)
    let bytes = UnsafeMutableRawPointer(words).assumingMemoryBound(to: UInt8.self)
    for start in stride(from: 0, to: head, by: 8) {
      var byte: UInt8 = 0
      for bit in 0..<min(8, head - start) where weights.base[start + bit] + shift >= 0 {
        byte |= 1 << UInt8(bit)
      }
      bytes[(first + start) / 8] = byte
    }
    withUnsafeTemporaryAllocation(of: Float.self, capacity: 64) { shifts in
      shifts.initialize(repeating: shift)
      let target = words + (first + head) / 64
      let rows = (weights.count - head) / 64
      func pack(rows: Int, columns: Int, from start: Int, into target: UnsafeMutablePointer<UInt64>) {
        Kernels.pack(
          MatrixView(base: weights.base + start, rows: rows, columns: columns, stride: columns),
          shift: FloatView(base: shifts.baseAddress!, count: columns), step: 0,
          signs: BitView(base: target, rows: rows, columns: columns), within: nil)
      }
      pack(rows: rows, columns: 64, from: head, into: target)
      let rest = weights.count - head - rows * 64
      // What another slice has of the last word comes after this, with the gather.
      if rest > 0 { pack(rows: 1, columns: rest, from: head + rows * 64, into: target + rows) }
    }
  }

  /// Makes the matrices of signs from the stream.
  ///
  /// - Cost: one pass over them.
  func arrangeSigns() {
    for (matrix, place) in zip(matrices, layout.matrices) {
      if matrix.signs.columns % 64 != 0 { cutRows(of: stream + place.firstWord, into: matrix.signs) }
      matrix.interleaved.interleave(matrix.signs)
    }
  }

  /// Cuts a stream into rows that begin at whole words.
  private func cutRows(of words: UnsafeMutablePointer<UInt64>, into matrix: BitView) {
    for row in 0..<matrix.rows {
      for word in 0..<matrix.words {
        let bit = row * matrix.columns + word * 64
        let (first, shift) = (bit / 64, UInt64(bit % 64))
        // The spare word lets the last row read on.
        let bits = shift == 0 ? words[first] : words[first] >> shift | words[first + 1] << (64 - shift)
        let left = min(64, matrix.columns - word * 64)
        matrix.base[row * matrix.words + word] = left == 64 ? bits : bits & (1 << UInt64(left) - 1)
      }
    }
  }
}
