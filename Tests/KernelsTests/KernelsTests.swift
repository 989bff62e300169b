import Kernels
import Testing

/// All tests of Kernels, one after the other: they change the instruction set, which is one for the process.
@Suite(.serialized) enum KernelSuites {}

/// For tests that compare the kernels of one instruction set with those of another.
let severalInstructionSets = ConditionTrait.enabled(
  "SKIPPED: this processor has the kernels of one instruction set alone"
) { InstructionSet.available.count > 1 }

/// Numbers for tests, the same in every run.
struct Draws {
  private var stream: RandomStream

  init(_ place: UInt32) { stream = CounterRandom(seed: 20_240_612, purpose: .heldOut).stream(place) }

  mutating func integer(below bound: Int) -> Int { Int(stream.next(below: UInt32(bound))) }

  mutating func float(_ range: ClosedRange<Float> = -1...1) -> Float {
    range.lowerBound + (range.upperBound - range.lowerBound) * stream.unit()
  }

  mutating func floats(_ count: Int, _ range: ClosedRange<Float> = -1...1) -> [Float] {
    (0..<count).map { _ in float(range) }
  }

  /// Mostly within ±2, and now and then zero of either sign, tiny, or large.
  mutating func mixed(_ count: Int, largest: Float = 1e4) -> [Float] {
    (0..<count).map { _ in
      switch integer(below: 12) {
      case 0: integer(below: 2) == 0 ? 0 : -0.0
      case 1: float() * 1e-30
      case 2: float() * largest
      default: float(-2...2)
      }
    }
  }

  /// rows×columns random bits.
  mutating func bits(_ rows: Int, _ columns: Int) -> [[Bool]] {
    (0..<rows).map { _ in (0..<columns).map { _ in stream.next() & 1 == 1 } }
  }
}

extension Arena {
  mutating func floats(_ values: [Float]) -> FloatView {
    let view = floats(values.count)
    for (i, value) in values.enumerated() { view[i] = value }
    return view
  }

  mutating func matrix(_ values: [Float], rows: Int, columns: Int) -> MatrixView {
    MatrixView(floats(values), rows: rows, columns: columns)
  }

  /// A rows×columns matrix whose rows lie `gap` elements further apart than they are long; `value` everywhere.
  mutating func strided(rows: Int, columns: Int, gap: Int, value: Float = 0) -> MatrixView {
    let view = floats(max(1, rows) * (columns + gap))
    view.fill(value)
    return MatrixView(base: view.base, rows: rows, columns: columns, stride: columns + gap)
  }

  mutating func bits(_ values: [[Bool]]) -> BitView {
    let view = bits(rows: values.count, columns: values[0].count)
    for (row, line) in values.enumerated() {
      for (column, isSet) in line.enumerated() where isSet {
        view.base[row * view.words + column / 64] |= 1 << UInt64(column % 64)
      }
    }
    return view
  }

  mutating func interleaved(_ source: BitView) -> InterleavedView {
    let view = interleavedBits(rows: source.rows, columns: source.columns)
    view.interleave(source)
    return view
  }
}

extension BitView {
  /// All words, unused bits included.
  var array: [UInt64] { Array(UnsafeBufferPointer(start: base, count: rows * words)) }
}

extension MatrixView {
  subscript(row: Int, column: Int) -> Float {
    get { base[row * stride + column] }
    nonmutating set { base[row * stride + column] = newValue }
  }

  /// All elements between the first and the last, gaps included.
  var everything: [Float] { Array(UnsafeBufferPointer(start: base, count: rows * stride)) }

  /// The elements proper.
  var array: [Float] { (0..<rows).flatMap { row in (0..<columns).map { self[row, $0] } } }
}

func bitPatterns(_ values: [Float]) -> [UInt32] { values.map(\.bitPattern) }
