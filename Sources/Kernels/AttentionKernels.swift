import CBitKernels

/// Scores of one head to probabilities, in place: softmax((s + extra)·factor) over the first `length` keys of each
/// row, zero beyond. On the calling thread alone, like all of this file.
///
/// - Parameters:
///   - scores: M×T, dense.
///   - extra: M×T, dense, or nil.
public func softmaxSerial(_ scores: MatrixView, extra: FloatView?, length: Int, factor: Float) {
  precondition(
    length > 0 && length <= scores.columns && scores.stride == scores.columns, "softmax over \(length)")
  InstructionSet.table.pointee.softmax(scores.base, extra?.base, scores.rows, length, scores.columns, factor)
}

/// Bits of the elastic binarisation of probabilities: p′/step > 0.5, p′ = keep ? factor·p : 0.
public func binariseProbabilitiesSerial(
  _ p: MatrixView, keep: BitView?, factor: Float, step: Float, into bits: BitView
) {
  precondition(bits.rows == p.rows && bits.columns == p.columns && p.stride == p.columns, "probabilities")
  InstructionSet.table.pointee.binarise_probabilities(
    p.base, keep?.base, factor, p.rows, p.columns, step, bits.base)
}

/// Backward through dropout and softmax: `gradient` (M×T, to the probabilities after dropout) becomes the gradient to the
/// unscaled score. It is that of `probabilitiesBackwardSerial` with a step size that no probability comes near, so that every
/// gradient passes.
public func softmaxBackwardSerial(
  _ p: MatrixView, keep: BitView?, dropoutFactor: Float, scoreFactor: Float, gradient: MatrixView
) {
  _ = probabilitiesBackwardSerial(
    p, keep: keep, dropoutFactor: dropoutFactor, step: .infinity, scoreFactor: scoreFactor,
    gradient: gradient)
}

/// Backward through binarisation, dropout and softmax: `gradient` (M×T, to the binarised probability) becomes the
/// gradient to the unscaled score.
///
/// - Returns: the sum of METHOD's table for the step size, to be divided by √numel.
public func probabilitiesBackwardSerial(
  _ p: MatrixView, keep: BitView?, dropoutFactor: Float, step: Float, scoreFactor: Float, gradient: MatrixView
) -> Double {
  precondition(
    gradient.rows == p.rows && gradient.columns == p.columns && gradient.stride == p.stride, "probabilities")
  return InstructionSet.table.pointee.probabilities_backward(
    p.base, keep?.base, dropoutFactor, step, scoreFactor, p.rows, p.columns, gradient.base)
}
