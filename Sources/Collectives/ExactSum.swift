import CBitKernels
import Kernels

/// The sum of a rank's lanes as integers: one vector, whatever the number of lanes, in whatever order they come.
///
/// Each lane's gradient is rounded once, to multiples of its pieces' powers of two; from there on everything is exact. A step
/// goes `clear`, `add` and `note` of every lane, `complete`, then, once the bounds of all ranks fit (`SumPowers.raise`), an exchange of
/// `sums` that adds integers, and `read`.
///
/// The first that comes for a piece is written, not added, which saves a pass over zeros: so what is added until `note` must
/// cover all of a piece, or `beginPart` comes before.
///
/// - Cost: an integer for each element of a piece, in memory that reaches over all of the vector; 13 bytes a piece. No allocation after `init`.
public struct ExactSum<Integer: SummedInteger>: ~Copyable {
  public let pieces: SumPieces
  /// What bounds the sums of this rank's lanes.
  public private(set) var bounds: SumBounds
  private let memory: FloatBuffer
  /// The integers of the whole vector, and perhaps one more.
  public let sums: UnsafeMutableBufferPointer<Integer>
  /// The bits of the largest magnitude of each piece, of what is not yet part of `bounds`; they are ordered as the magnitudes
  /// are, with what is not finite above them.
  private let largestMemory: FloatBuffer
  private let largest: UnsafeMutablePointer<UInt32>
  /// Whether each piece has been written in this step.
  private let isWritten: UnsafeMutableBufferPointer<Bool>

  /// Of a vector of `count` elements; zero.
  public init(count: Int, pieces: SumPieces) {
    precondition(pieces.ranges.last?.upperBound ?? 0 <= count, "pieces beyond \(count) elements")
    self.pieces = pieces
    bounds = SumBounds(count: pieces.ranges.count)
    let stride = MemoryLayout<Integer>.stride
    memory = FloatBuffer(count: (count * stride + 3) / 4)
    sums = memory.view.bytes.bindMemory(to: Integer.self)
    // Where most elements are those of another sum, only what is between them takes memory.
    if pieces.ranges.reduce(0, { $0 + $1.count }) < count / 2 { memory.useSmallPages(0..<memory.count) }
    largestMemory = FloatBuffer(count: pieces.ranges.count)
    largest = UnsafeMutableRawPointer(largestMemory.view.base).bindMemory(
      to: UInt32.self, capacity: pieces.ranges.count)
    isWritten = .allocate(capacity: pieces.ranges.count)
    isWritten.initialize(repeating: false)
  }

  deinit { isWritten.deallocate() }

  /// Begins a step.
  public mutating func clear() {
    bounds.clear()
    isWritten.update(repeating: false)
  }

  /// Of the pieces in `range` only some elements may follow.
  public func beginPart(of range: Range<Int>) { writeZeros(pieces.pieces(in: range)) }

  /// All lanes have come: pieces that none had anything for are zero.
  public func complete() { writeZeros(pieces.ranges.indices) }

  /// Zero for those of `numbers` that have not been written.
  private func writeZeros(_ numbers: Range<Int>) {
    parallelPanels(numbers.count, 64) { range, _ in
      for piece in range.lowerBound + numbers.lowerBound..<range.upperBound + numbers.lowerBound
      where !isWritten[piece] {
        let elements = pieces.ranges[piece]
        sums.baseAddress!.advanced(by: elements.lowerBound).update(repeating: 0, count: elements.count)
        isWritten[piece] = true
      }
    }
  }

  /// Adds the elements `range` of a lane's gradient, which cuts no piece; `note` follows.
  ///
  /// - Parameter gradient: of these elements alone; becomes 0 where there is a piece.
  /// - Cost: one pass over them.
  public func add(_ gradient: FloatView, at range: Range<Int>, powers: SumPowers) {
    precondition(gradient.count == range.count, "\(gradient.count) elements for \(range)")
    let own = pieces.pieces(in: range)
    parallelFor(own.count) { index, _ in
      let elements = pieces.ranges[own.lowerBound + index]
      add(
        gradient.base + elements.lowerBound - range.lowerBound, valueStride: elements.count, rows: 1,
        columns: elements.count, at: elements.lowerBound, stride: elements.count,
        piece: own.lowerBound + index, powers)
    }
  }

  /// Adds a block of a matrix, see `GradientSink`; `note` follows once all of it is there. On the calling thread alone, which
  /// others may do with other blocks.
  public func addBlock(
    _ values: UnsafeMutablePointer<Float>, valueStride: Int, rows: Int, columns: Int, at start: Int,
    stride: Int,
    powers: SumPowers
  ) {
    var piece = pieces.piece(of: start)
    var row = 0
    while row < rows {
      let first = start + row * stride
      while pieces.ranges[piece].upperBound <= first { piece += 1 }
      let end = pieces.ranges[piece].upperBound
      let whole = min(rows - row, end - first < columns ? 0 : (end - first - columns) / stride + 1)
      if whole > 0 {
        add(
          values + row * valueStride, valueStride: valueStride, rows: whole, columns: columns, at: first,
          stride: stride, piece: piece, powers)
        row += whole
        continue
      }
      // A row that pieces cut.
      var column = 0
      while column < columns {
        let count = min(columns - column, pieces.ranges[piece].upperBound - first - column)
        add(
          values + row * valueStride + column, valueStride: count, rows: 1, columns: count,
          at: first + column,
          stride: count, piece: piece, powers)
        column += count
        if column < columns { piece += 1 }
      }
      row += 1
    }
  }

  private func add(
    _ values: UnsafeMutablePointer<Float>, valueStride: Int, rows: Int, columns: Int, at start: Int,
    stride: Int,
    piece: Int, _ powers: SumPowers
  ) {
    let magnitude = Integer.add(
      values, valueStride: valueStride, rows: rows, columns: columns, power: powers[piece],
      adds: isWritten[piece], to: sums.baseAddress! + start, stride: stride)
    bk_raise(largest + piece, magnitude.bitPattern)
  }

  /// Takes what was added since the last time into `bounds`, as one lane or part of one.
  public mutating func note(powers: SumPowers) {
    for piece in pieces.ranges.indices where largest[piece] > 0 {
      bounds.add(Float(bitPattern: largest[piece]), piece: piece, power: powers[piece])
      largest[piece] = 0
      // Where nothing but zeros came, the next may as well be written.
      isWritten[piece] = true
    }
  }

  /// The total of the elements `range`, once `sums` holds that of all lanes, as float32. Cuts no piece; what is in none is not
  /// written. On the calling thread alone.
  public func read(_ range: Range<Int>, powers: SumPowers, into values: FloatView) {
    precondition(values.count == range.count, "\(values.count) elements for \(range)")
    for piece in pieces.pieces(in: range) {
      let elements = pieces.ranges[piece]
      Integer.read(
        sums.baseAddress! + elements.lowerBound, count: elements.count, power: powers[piece],
        into: values.base + elements.lowerBound - range.lowerBound)
    }
  }
}
