import Kernels
import Parameters

/// The elastic binariser of attention probabilities, dropout included: α·clamp(round(p/α), 0, 2ⁿ − 1), half to even. Backward needs
/// the probabilities themselves, which it computes the integers of again.
///
/// At one bit, 1 exactly where p/α > 0.5, they are packed.
struct ProbabilityBinariser {
  let step: StepSize
  let levels: LevelSet

  /// What a product with these integers is multiplied by: α.
  func scale(_ parameters: FloatView) -> Float { step.value(parameters) }

  /// Sets α from all probabilities: METHOD's factor of their mean, over √(2ⁿ − 1).
  func fit(_ rule: StepSizeFit, to p: FloatView, _ parameters: FloatView) {
    let mean = p.sum() / Double(p.count)
    step.set(rule.unsignedFactor * mean / Double(levels.highest).squareRoot(), parameters)
  }

  /// The bits of p, after dropout that keeps `keep`, on the calling thread.
  ///
  /// - Precondition: there is one bit.
  func packSerial(
    _ p: MatrixView, keep: BitView, dropout: Dropout?, _ parameters: FloatView, into bits: BitView
  ) {
    precondition(levels.bits == 1, "probabilities of \(levels.bits) bits as one")
    binariseProbabilitiesSerial(
      p, keep: dropout == nil ? nil : keep, factor: dropout?.factor ?? 1, step: scale(parameters), into: bits)
  }

  /// factor·q of p, after dropout, on the calling thread.
  ///
  /// - Parameter bits: room of the shape of p.
  func writeSerial(
    _ p: MatrixView, keep: BitView, dropout: Dropout?, factor: Float, _ parameters: FloatView, bits: BitView,
    into out: MatrixView
  ) {
    if levels.bits == 1 {
      packSerial(p, keep: keep, dropout: dropout, parameters, into: bits)
      bits.unpack(high: factor, low: 0, into: out)
      return
    }
    operand(p, keep: keep, dropout: dropout, parameters, in: out).writeSerial(factor: factor, into: out)
  }

  /// The gradient of the binarised probabilities becomes that of the unscaled scores, on the calling thread.
  ///
  /// - Parameter room: of the shape of p.
  /// - Returns: the sum for the gradient of α.
  func backwardSerial(
    _ p: MatrixView, keep: BitView, dropout: Dropout?, scoreFactor: Float, _ parameters: FloatView,
    gradient: MatrixView, room: MatrixView
  ) -> Double {
    let (kept, dropoutFactor) = (dropout == nil ? nil : keep, dropout?.factor ?? 1)
    if levels.bits == 1 {
      return probabilitiesBackwardSerial(
        p, keep: kept, dropoutFactor: dropoutFactor, step: scale(parameters), scoreFactor: scoreFactor,
        gradient: gradient)
    }
    let operand = operand(p, keep: keep, dropout: dropout, parameters, in: room)
    let sum = operand.backwardSerial(gradient, add: false, dx: gradient, shiftGradient: nil)
    softmaxBackwardSerial(
      p, keep: kept, dropoutFactor: dropoutFactor, scoreFactor: scoreFactor, gradient: gradient)
    return sum
  }

  func addStepGradient(_ sum: Double, count: Int, _ gradients: FloatView) {
    step.addGradient(sum, count: count * levels.highest, gradients)
  }

  /// p after dropout, written to `room`.
  private func operand(
    _ p: MatrixView, keep: BitView, dropout: Dropout?, _ parameters: FloatView, in room: MatrixView
  ) -> LevelOperand {
    room.dense.copy(from: p.dense)
    dropout?.applySerial(keep, to: room.dense)
    return LevelOperand(room, shift: nil, step: scale(parameters), levels)
  }
}
