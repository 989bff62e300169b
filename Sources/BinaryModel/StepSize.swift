import Kernels

/// How a step size is fitted to the first operand that reaches it (METHOD, "Step-size fit").
public enum StepSizeFit: String, CaseIterable, Sendable {
  /// 2·mean|x| for signed operands, 4·mean|p| for probabilities: the authors' release.
  case published
  /// mean|x| for signed operands, the best scale of signs in the least-squares sense; 4·mean|p| for probabilities.
  case leastSquares = "least_squares"

  var signedFactor: Double { self == .published ? 2 : 1 }
  var unsignedFactor: Double { 4 }
}

/// A step size below this acts as this.
let smallestStep: Float = 1e-5

/// The step size stored at `place` of the flat buffer, as it acts.
func stepSize(_ parameters: FloatView, _ place: Int) -> Float { max(parameters[place], smallestStep) }
