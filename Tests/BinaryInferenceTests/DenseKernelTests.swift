import CBitKernels
import Kernels
import Testing

/// The float products of packed models, with every instruction set.
struct DenseKernelTests {
  private static func tables() -> [UnsafePointer<bk_kernels>] {
    InstructionSet.available.map { bk_choose($0)! }
  }

  private func numbers(_ count: Int, _ place: UInt32) -> [Float] {
    var stream = CounterRandom(seed: 3, purpose: .heldOut).stream(place)
    return (0..<count).map { _ in 2 * stream.unit() - 1 }
  }

  @Test(arguments: [(1, 1, 1), (5, 17, 3), (9, 64, 10), (4, 100, 4), (3, 768, 7)])
  func linear(rows: Int, depth: Int, outputs: Int) {
    let (x, w, bias) = (numbers(rows * depth, 1), numbers(outputs * depth, 2), numbers(outputs, 3))
    var first: [UInt32]?
    for table in Self.tables() {
      var out = [Float](repeating: .nan, count: rows * outputs)
      table.pointee.linear(x, rows, depth, depth, w, outputs, bias, &out, outputs)
      for row in 0..<rows {
        for output in 0..<outputs {
          let sum = (0..<depth).reduce(Double(bias[output])) {
            $0 + Double(x[row * depth + $1]) * Double(w[output * depth + $1])
          }
          #expect(abs(Double(out[row * outputs + output]) - sum) < 1e-5)
        }
      }
      first = first ?? out.map(\.bitPattern)
      #expect(first == out.map(\.bitPattern))
      // A row alone gives the same bits.
      var alone = [Float](repeating: .nan, count: outputs)
      table.pointee.linear(Array(x.suffix(depth)), 1, depth, depth, w, outputs, bias, &alone, outputs)
      #expect(alone.map(\.bitPattern) == Array(out.suffix(outputs)).map(\.bitPattern))
    }
  }

  @Test func transposedProduct() {
    let (depth, rows, columns) = (3, 5, 21)
    let (a, b) = (numbers(depth * rows, 4), numbers(depth * columns, 5))
    for table in Self.tables() {
      for adds in [false, true] {
        var out = [Float](repeating: 2, count: rows * columns)
        table.pointee.transposed_product(a, rows, b, columns, depth, rows, columns, adds, &out, columns)
        for row in 0..<rows {
          for column in 0..<columns {
            var sum: Float = 0
            for k in 0..<depth { sum = sum.addingProduct(a[k * rows + row], b[k * columns + column]) }
            #expect(out[row * columns + column] == (adds ? sum + 2 : sum))
          }
        }
      }
    }
  }

  @Test func wholeNumbers() {
    let (rows, columns) = (3, 21)
    let integers = (0..<rows * columns).map { Int16(truncatingIfNeeded: $0 * 7919 - 32768) }
    let units = numbers(rows, 9)
    for table in Self.tables() {
      var out = [Float](repeating: .nan, count: rows * columns)
      table.pointee.widen_integers(integers, rows, columns, units, &out)
      #expect(out == integers.indices.map { units[$0 / columns] * Float(integers[$0]) })
    }
  }

  @Test func everyHalf() {
    let halves = Array(UInt16.min...UInt16.max)
    for table in Self.tables() {
      var out = [Float](repeating: 0, count: halves.count)
      table.pointee.widen_halves(halves, halves.count, &out)
      for (half, found) in zip(halves, out) {
        let expected = Float(Float16(bitPattern: half))
        if expected.isNaN ? !found.isNaN : found.bitPattern != expected.bitPattern {
          Issue.record("half \(half): \(found), expected \(expected)")
        }
      }
    }
  }
}
