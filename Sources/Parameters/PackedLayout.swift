/// What of a model's flat vector the products read as it is, and what only as signs and means: the map that ranks need to
/// exchange weights of which each owns a slice of the vector.
///
/// - The latent weights of binary matrices become a stream of bits, one an element in flat order; each matrix begins at a
///   whole word of 64 bits.
/// - mean(w) and mean|w| of a tensor come from sums over its pieces: the parts that the fixed chunks of the flat vector cut
///   it into, so that a piece has one owner and everyone adds the pieces up in the same order.
/// - All else, the word embedding included, stays float32. Where nothing is binary, that is everything.
public struct PackedLayout: Sendable {
  /// Elements of a chunk of the flat vector.
  public static let chunk = 65_536

  /// One binary matrix: its place in the flat vector, and the first bit of its stream.
  public struct Matrix: Sendable {
    public let range: Range<Int>
    public let firstWord: Int
    var words: Int { (range.count + 63) / 64 }
  }

  /// Of a piece: the sum of its weights, and of their absolutes (0 for the word embedding, which needs none).
  public struct PieceSums {
    public var weights: Double
    public var absolutes: Double

    public init(weights: Double = 0, absolutes: Double = 0) {
      self.weights = weights
      self.absolutes = absolutes
    }

    /// Bytes of one.
    public static var size: Int { MemoryLayout<PieceSums>.stride }
  }

  public let matrices: [Matrix]
  /// Bytes of the stream of signs.
  public let signByteCount: Int
  /// The pieces of the word embedding and of all matrices, in flat order.
  public let pieces: [Range<Int>]
  /// The word embedding where it is binary; else empty.
  public let table: Range<Int>
  /// The word embedding's, and each matrix's, among `pieces`.
  public let tablePieces: Range<Int>
  public let matrixPieces: [Range<Int>]

  /// - Precondition: the layout has at most one binary table, before all binary matrices.
  public init(_ layout: ParameterLayout) {
    var matrices: [Matrix] = []
    var words = 0
    table = layout.parameters.first { $0.kind == .binaryTable }?.range ?? 0..<0
    var pieces = Self.pieces(of: table)
    var matrixPieces: [Range<Int>] = []
    tablePieces = pieces.indices
    for parameter in layout.parameters where parameter.kind == .binaryMatrix {
      let matrix = Matrix(range: parameter.range, firstWord: words)
      precondition(
        parameter.offset >= pieces.last?.upperBound ?? 0, "binary matrices are not in flat order")
      matrices.append(matrix)
      words += matrix.words
      let own = Self.pieces(of: parameter.range)
      matrixPieces.append(pieces.count..<pieces.count + own.count)
      pieces += own
    }
    self.matrices = matrices
    self.pieces = pieces
    self.matrixPieces = matrixPieces
    signByteCount = words * MemoryLayout<UInt64>.size
  }

  private static func pieces(of range: Range<Int>) -> [Range<Int>] {
    (range.lowerBound / chunk..<(range.upperBound + chunk - 1) / chunk).map {
      range.clamped(to: $0 * chunk..<($0 + 1) * chunk)
    }
  }

  // MARK: Slices of the flat vector, cut at chunks

  /// Those of `pieces` that lie in `slice`.
  public func pieces(in slice: Range<Int>) -> Range<Int> {
    let first = pieces.firstIndex { $0.lowerBound >= slice.lowerBound } ?? pieces.count
    let last = pieces.firstIndex { $0.lowerBound >= slice.upperBound } ?? pieces.count
    return first..<max(first, last)
  }

  /// The latent weights in `slice`: number of the matrix, elements of the flat vector.
  func latentParts(in slice: Range<Int>) -> [(matrix: Int, range: Range<Int>)] {
    matrices.indices.compactMap { index in
      let range = matrices[index].range.clamped(to: slice)
      return range.isEmpty ? nil : (index, range)
    }
  }

  /// The latent weights in `slice`, in flat order.
  public func latentRanges(in slice: Range<Int>) -> [Range<Int>] { latentParts(in: slice).map(\.range) }

  /// What is not latent in `slice`: the elements whose float32 values every rank needs.
  public func realRanges(in slice: Range<Int>) -> [Range<Int>] {
    var ranges: [Range<Int>] = []
    var start = slice.lowerBound
    for latent in latentRanges(in: slice) {
      if start < latent.lowerBound { ranges.append(start..<latent.lowerBound) }
      start = latent.upperBound
    }
    if start < slice.upperBound { ranges.append(start..<slice.upperBound) }
    return ranges
  }

  /// The bytes of the stream of signs that belong to `slice`. No byte belongs to two slices, since tensors and chunks
  /// begin at multiples of 16 elements.
  public func signRanges(in slice: Range<Int>) -> [Range<Int>] {
    latentParts(in: slice).map { index, range in
      let matrix = matrices[index]
      let first = range.lowerBound - matrix.range.lowerBound
      precondition(first % 8 == 0, "a slice that begins within a byte of signs")
      let start = matrix.firstWord * MemoryLayout<UInt64>.size
      return start + first / 8..<start + (range.upperBound - matrix.range.lowerBound + 7) / 8
    }
  }
}
