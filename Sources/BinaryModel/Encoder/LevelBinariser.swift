import Kernels
import Parameters

/// The elastic binariser of operands with more values than two (BiT, Liu et al. 2022):
///
///     v = (x + b) / α     q = clamp(round(v), Q_n, Q_p), half to even     operand = α q
///
/// Its gradient to x and b is g where Q_n ≤ v ≤ Q_p, else 0; to α it is Σ g·(v < Q_n: Q_n; v > Q_p: Q_p; else q − v) / √(numel·Q_p).
/// Since that needs v, it keeps x.
///
/// Legend: N rows, I columns.
struct LevelBinariser {
  let places: BinariserPlaces
  /// N×I: x, as it came.
  let input: MatrixView
  /// Whether another binariser of the same x keeps it.
  private let isShared: Bool

  init(_ places: BinariserPlaces, rows: Int, columns: Int, in arena: inout Arena) {
    self.places = places
    input = MatrixView(arena.floats(rows * columns), rows: rows, columns: columns)
    isShared = false
  }

  /// One whose x `other` keeps.
  init(_ places: BinariserPlaces, sharing other: LevelBinariser) {
    self.places = places
    input = other.input
    isShared = true
  }

  /// The operand last kept.
  func operand(_ parameters: FloatView) -> LevelOperand {
    LevelOperand(
      input, shift: places.shift(parameters), step: places.step.value(parameters), places.levels)
  }

  /// Keeps x: N×I, on all threads.
  func keep(_ x: MatrixView) {
    if isShared { return }
    parallelPanels(x.rows, 96) { range, _ in keepSerial(x[rows: range], rows: range) }
  }

  /// Keeps rows of x on the calling thread: they become `rows` here.
  func keepSerial(_ x: MatrixView, rows: Range<Int>) {
    let own = input[rows: rows]
    precondition(own.rows == x.rows && own.columns == x.columns, "\(x.rows)×\(x.columns) kept as \(rows)")
    for row in 0..<x.rows {
      (own.base + row * own.stride).update(from: x.base + row * x.stride, count: x.columns)
    }
  }

  /// How many elements have a v within the levels.
  func countWithin(_ parameters: FloatView) -> Int {
    let (operand, levels) = (operand(parameters), places.levels)
    let range = Float(levels.lowest)...Float(levels.highest)
    var count = 0
    for row in 0..<input.rows {
      let own = input.base + row * input.stride
      for column in 0..<input.columns {
        let shifted = operand.shift.map { own[column] + $0.base[column] } ?? own[column]
        if range.contains(shifted / operand.step) { count += 1 }
      }
    }
    return count
  }
}
