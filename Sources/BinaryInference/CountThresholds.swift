import CBitKernels

/// The outputs of a binary linear layer as bits, without the numbers between: output j is 1 where the count of differing bits
/// c = popcount(a ⊕ b_j) is below `low[j]` or, where there is a second threshold, at least `high[j]`.
///
/// Training computes y = s·(K − 2c) + bias and packs sign(y) (queries, keys and values, `SignBinariser` without shift) or
/// sign(gelu(y) + shift) (the intermediate layer, whose output the next layer shifts). c is a whole number from 0 to K, so
/// there are K + 1 cases a channel; all are evaluated with the kernels of the float path, in its order, and thresholds are
/// read off. For s ≥ 0 a fused multiply-add does not grow with c, so one threshold tells the sign of y. GELU falls, to −0.17 at
/// −0.75, before it rises, so there are two. Rounding can make it go up and down on its way: what two thresholds
/// do not tell is listed.
///
/// Legend: O outputs, K inputs.
package struct CountThresholds: Equatable, Sendable {
  /// O thresholds.
  package var low: [Int16] = []
  /// O of them, at least those of `low`; nil for signs.
  package var high: [Int16]?
  /// Output and count of each bit that is the other one.
  package var exceptions: [Exception] = []

  package struct Exception: Equatable, Sendable {
    package let output: Int32
    package let count: Int32
  }

  /// The most inputs whose counts, and one more, fit 16 bits.
  package static let inputLimit = Int(Int16.max) - 1

  /// Outputs evaluated at once.
  private static let block = 64

  /// - Parameters:
  ///   - scale: s, the product of the step size and the weight's mean absolute value.
  ///   - bias: O.
  ///   - shift: O, of the layer that reads gelu(y); nil for the signs of y.
  ///   - inputs: K, at most `inputLimit`.
  /// - Cost: O·(K + 1) evaluations, 16 at a time.
  package init(
    scale: Float, bias: UnsafePointer<Float>, shift: UnsafePointer<Float>?, outputs: Int, inputs: Int
  ) {
    precondition(inputs <= Self.inputLimit, "\(inputs) inputs, at most \(Self.inputLimit)")
    let kernels = bk_choose(nil)!
    let cases = inputs + 1
    // y = bias·1 + (−2s)·(c − K/2): the sum of two products, the second fused.
    let terms = [Float](repeating: 1, count: cases) + (0..<cases).map { Float($0) - Float(inputs) / 2 }
    var factors = [Float](repeating: -2 * scale, count: 2 * Self.block)
    var bits = [UInt64](repeating: 0, count: cases)
    if shift != nil { high = [] }
    withUnsafeTemporaryAllocation(of: Float.self, capacity: cases * Self.block) { room in
      let values = room.baseAddress!
      for first in stride(from: 0, to: outputs, by: Self.block) {
        let count = min(Self.block, outputs - first)
        for output in 0..<count { factors[output] = bias[first + output] }
        kernels.pointee.transposed_product(
          terms, cases, factors, Self.block, 2, cases, Self.block, false, values, Self.block)
        if shift != nil { kernels.pointee.gelu(values, cases * Self.block, values) }
        kernels.pointee.pack(values, cases, count, Self.block, shift.map { $0 + first }, 0, &bits, nil)
        for output in 0..<count {
          append(output: first + output, isSet: bits.map { $0 >> UInt64(output) & 1 == 1 })
        }
      }
    }
  }

  /// Adds the thresholds of an output that is 1 at the counts of `isSet`.
  private mutating func append(output: Int, isSet: [Bool]) {
    let below = isSet.firstIndex(of: false) ?? isSet.count
    low.append(Int16(below))
    var from = isSet.count
    if high != nil {
      from = isSet.lastIndex(of: false).map { $0 + 1 } ?? isSet.count
      high!.append(Int16(from))
    }
    if below == isSet.count { return }
    for count in below..<from where isSet[count] {
      exceptions.append(Exception(output: Int32(output), count: Int32(count)))
    }
  }
}
