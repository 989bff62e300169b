import CBitKernels

/// One step of AdamW: decoupled weight decay, bias-corrected moments (Loshchilov and Hutter 2019, as in PyTorch).
public struct AdamW: Sendable {
  public static let betas: (Float, Float) = (0.9, 0.999)
  public static let epsilon: Float = 1e-8
  /// What it keeps between steps, each as long as the parameters: running means of the gradient and of its square, by
  /// PyTorch's names.
  public static let stateNames = ["exp_avg", "exp_avg_sq"]
  private var settings: bk_adamw

  /// - Parameters:
  ///   - step: counts from 1.
  ///   - gradientFactor: multiplies gradients first (clipping).
  public init(step: Int, learningRate: Float, gradientFactor: Float) {
    precondition(step >= 1, "AdamW step \(step)")
    let (beta1, beta2) = Self.betas
    settings = bk_adamw(
      gradient_factor: gradientFactor, rate: learningRate, beta1: beta1, beta2: beta2, epsilon: Self.epsilon,
      decay: 0, correction1: Float(1 - power(Double(beta1), step)),
      root_correction2: Float((1 - power(Double(beta2), step)).squareRoot()))
  }

  /// Updates parameters and moments of equal counts.
  ///
  /// - Cost: one pass over 4 vectors.
  public func update(
    _ parameters: FloatView, gradients: FloatView, firstMoments: FloatView, secondMoments: FloatView,
    decay: Float
  ) {
    parallelPanels(parameters.count, 16_384) { range, _ in
      updateSerial(
        parameters[range], gradients: gradients[range], firstMoments: firstMoments[range],
        secondMoments: secondMoments[range], decay: decay)
    }
  }

  /// The same on the calling thread alone.
  public func updateSerial(
    _ parameters: FloatView, gradients: FloatView, firstMoments: FloatView, secondMoments: FloatView,
    decay: Float
  ) {
    let count = parameters.count
    precondition(
      gradients.count == count && firstMoments.count == count && secondMoments.count == count,
      "AdamW of \(count) parameters")
    var own = settings
    own.decay = decay
    InstructionSet.table.pointee.adamw(
      parameters.base, gradients.base, firstMoments.base, secondMoments.base, count, &own)
  }
}

/// base^exponent by squaring: the same bits on every host, which libm's pow does not promise.
private func power(_ base: Double, _ exponent: Int) -> Double {
  var (result, square, left) = (1.0, base, exponent)
  while left > 0 {
    if left & 1 == 1 { result *= square }
    square *= square
    left >>= 1
  }
  return result
}
