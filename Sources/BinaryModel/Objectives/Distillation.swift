import Kernels

#if canImport(Glibc)
  import func Glibc.exp
#else
  import func Darwin.exp
#endif

/// What of its teacher a task's student is to match.
public enum DistillationTarget: String, CaseIterable, Sendable {
  case logits
  case hidden
  case both

  public var hasLogits: Bool { self != .hidden }
  public var hasHiddenStates: Bool { self != .logits }
}

/// How the L + 1 distances of hidden states are put together.
public enum HiddenLoss: String, CaseIterable, Sendable {
  /// Their mean: BiPFT.
  case mean
  /// Their sum: BiT (Liu et al. 2022). L + 1 times the mean, and so much more beside the other losses.
  case sum
}

/// The distances of a student from its teacher (METHOD, "Objective"): of hidden states the mean (`HiddenLoss`) over all L + 1 of
/// MSE(student, teacher); of logits the mean of −softmax(t)·log softmax(s); of numbers the mean of (s − t)².
///
/// Legend: N tokens, H hidden, L layers, C classes.
enum Distillation {
  static let key = "hidden_loss"

  /// Adds the gradient of MSE(student, teacher) / states at one hidden state to `gradient` (N×H).
  ///
  /// - Parameters:
  ///   - states: L + 1, or 1 for the sum.
  ///   - elements: of one hidden state of the global batch.
  ///   - weight: what the gradient is multiplied by.
  ///   - gradient: nil where only the distance is asked for.
  /// - Returns: Σ(student − teacher)² / states.
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

  /// −Σ softmax(teacher)·log softmax(student) over the C logits of one sequence, with its gradient,
  /// (softmax(student) − softmax(teacher)) / `count`, added.
  ///
  /// - Parameter count: logits of the global batch.
  static func crossEntropy(
    _ student: FloatView, _ teacher: FloatView, _ count: Int, addingTo gradient: FloatView
  ) -> Double {
    var loss = 0.0
    withUnsafeTemporaryAllocation(of: Float.self, capacity: student.count) { memory in
      let part = FloatView(base: memory.baseAddress!, count: student.count)
      for target in 0..<student.count {
        let logit = Double(teacher[target])
        let weight = 1 / (0..<student.count).reduce(0) { $0 + exp(Double(teacher[$1]) - logit) }
        part.copy(from: student)
        let own = Kernels.crossEntropy(part, label: target, factor: Float(weight) / Float(count))
        loss += weight * own.loss
        gradient.addSerial(part)
      }
    }
    return loss
  }

  /// Σ(student − teacher)² over the numbers of one sequence, with the gradient of its mean over `count` added.
  static func squaredError(
    _ student: FloatView, _ teacher: FloatView, _ count: Int, addingTo gradient: FloatView
  ) -> Double {
    student.squaredDifference(to: teacher, factor: 2 / Float(count), addingTo: gradient)
  }
}
