import Kernels

/// Distillation of hidden states: the mean over the L + 1 hidden states of MSE(student, teacher) (METHOD, "Objective").
///
/// Legend: N tokens, H hidden, L layers.
enum Distillation {
  static let key = "hidden_loss"

  /// Adds the gradient of MSE(student, teacher) / (L + 1) at one hidden state to `gradient` (N×H).
  ///
  /// - Parameters:
  ///   - elements: of one hidden state of the global batch.
  ///   - weight: what the gradient is multiplied by.
  ///   - gradient: nil where only the distance is asked for.
  /// - Returns: Σ(student − teacher)² / (L + 1).
  static func add(
    _ student: FloatView, _ teacher: FloatView, states: Int, elements: Int, weight: Float = 1,
    addingTo gradient: FloatView?
  ) -> Double {
    let states = Double(states)
    return student.squaredDifference(
      to: teacher, factor: Float(2 * Double(weight) / (Double(elements) * states)), addingTo: gradient)
      / states
  }

  /// The same without padding: a sequence's tokens stand for all T of its places, so that each sequence counts alike.
  static func addWithoutPadding(
    _ student: FloatView, _ teacher: FloatView, _ tokens: TokenBatch, states: Int, elements: Int,
    weight: Float, addingTo gradient: FloatView?
  ) -> Double {
    let width = student.count / (tokens.sequences * tokens.length)
    return withUnsafeTemporaryAllocation(of: Double.self, capacity: tokens.sequences) { distances in
      let distances = distances.baseAddress!
      parallelFor(tokens.sequences) { b, _ in
        let count = Int(tokens.lengths[b])
        let own = b * tokens.length * width..<(b * tokens.length + count) * width
        let share = Float(tokens.length) / Float(count)
        distances[b] =
          Double(share)
          * add(
            student[own], teacher[own], states: states, elements: elements, weight: share * weight,
            addingTo: gradient?[own])
      }
      return (0..<tokens.sequences).reduce(0) { $0 + distances[$1] }
    }
  }
}
