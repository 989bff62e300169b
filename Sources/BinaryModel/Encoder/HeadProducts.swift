import Kernels

// The forward products of one head. Those of bits are popcounts. Those of integers with more bits are float32 products of the
// integers themselves: all sums on the way are integers up to `LevelSet.largestSum`, so they are exact, in whatever order
// they are added, and are multiplied by their scale once.
//
// Legend: T tokens, D = H/h.

extension Attention {
  /// scores = scale·(Q Kᵀ) of the head whose operands are `rows`: T×T, on the calling thread.
  ///
  /// - Cost: T²·D / 64 word operations for signs, 2·T²·D operations else.
  func multiplyScores(
    _ rows: Range<Int>, scale: Float, _ own: AttentionScratch.Worker, _ parameters: FloatView,
    into scores: MatrixView
  ) {
    if case .signs(let queries) = queries, case .signs(let keys) = keys {
      own.keys.interleave(keys.signs[rows: rows])
      xnorProductSerial(queries.signs[rows: rows], own.keys, scale: scale, into: scores)
      return
    }
    queries.writeSerial(rows: rows, factor: 1, parameters, into: own.operand)
    keys.writeSerial(rows: rows, factor: 1, parameters, into: own.operandGradient)
    denseProductSerial(.plain(own.operand), .transposed(own.operandGradient), into: scores)
    scores.scaleSerial(by: scale, into: scores)
  }

  /// context = scale·(P V) + step·(P v_p) of the head whose operands are `rows`, P of integers: T×D, on the calling thread.
  ///
  /// - Parameter estimate: T: v_p, or nil.
  /// - Cost: as `multiplyScores`.
  func multiplyContext(
    _ rows: Range<Int>, scale: Float, step: Float, estimate: FloatView?, _ own: AttentionScratch.Worker,
    _ pass: Pass, into context: MatrixView
  ) {
    let (p, kept, parameters) = (probabilities[rows: rows], keep[rows: rows], pass.parameters)
    let dropout = pass.mode.dropout
    let rowBias = estimate == nil ? nil : own.rowBias
    if case .signs(let values) = values {
      probabilityBinariser.packSerial(p, keep: kept, dropout: dropout, parameters, into: own.probabilityBits)
      values.signs[rows: rows].transpose(into: own.transposedValues)
      own.values.interleave(own.transposedValues)
      if let estimate {
        own.probabilityBits.sumSetElements(of: estimate, factor: step, into: own.rowBias)
      }
      andProductSerial(own.probabilityBits, own.values, scale: scale, rowBias: rowBias, into: context)
      return
    }
    let integers = own.binaryProbabilities
    probabilityBinariser.writeSerial(
      p, keep: kept, dropout: dropout, factor: 1, parameters, bits: own.probabilityBits, into: integers)
    values.writeSerial(rows: rows, factor: 1, parameters, into: own.operand)
    denseProductSerial(.plain(integers), .plain(own.operand), into: own.operandGradient)
    if let estimate { integers.rowDotsSerial(with: estimate, factor: step, into: own.rowBias) }
    own.operandGradient.scaleSerial(by: scale, rowBias: rowBias, into: context)
  }
}
