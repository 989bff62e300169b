import Kernels

/// Distillation of hidden states: the mean over the L + 1 hidden states of MSE(student, teacher) (METHOD, "Objective").
///
/// Legend: N tokens, H hidden, L layers.
enum Distillation {
  static let key = "hidden_loss"

  /// Adds the gradient of MSE(student, teacher) / (L + 1) at one hidden state to `gradient` (N×H).
  ///
  /// - Parameter elements: of one hidden state of the global batch.
  /// - Returns: Σ(student − teacher)² / (L + 1).
  static func add(
    _ student: FloatView, _ teacher: FloatView, states: Int, elements: Int, addingTo gradient: FloatView
  ) -> Double {
    let states = Double(states)
    return student.squaredDifference(
      to: teacher, factor: Float(2 / (Double(elements) * states)), addingTo: gradient) / states
  }
}
