import Kernels

/// Next-sentence prediction: logits = W pooled + b, two classes (0: the second segment follows the first).
///
/// Legend: B sequences, H hidden.
struct NextSentenceHead {
  let places: LinearPlaces
  /// B×2, and their gradient.
  let logits: MatrixView
  let gradient: MatrixView

  init(_ places: LinearPlaces, sequences: Int, in arena: inout Arena) {
    self.places = places
    logits = MatrixView(arena.floats(sequences * 2), rows: sequences, columns: 2)
    gradient = MatrixView(arena.floats(sequences * 2), rows: sequences, columns: 2)
  }

  /// Losses of the pooled output (B×H); with `gradients` also backward.
  ///
  /// - Parameters:
  ///   - labels: B; sequences with a negative one do not count.
  ///   - divisor: the global number of sequences.
  ///   - teacher: B×2 logits of the teacher, or nil.
  func losses(
    _ pooled: MatrixView, labels: [Int32], divisor: Int, parameters: FloatView, teacher: FloatView?,
    gradients: HeadGradients?, into terms: inout LossTerms
  ) {
    places.forward(
      pooled, parameters: parameters, order: gradients == nil ? .fixed : .training, into: logits)
    gradient.dense.fill(0)
    var (loss, correct, count, distillation) = (0.0, 0, 0, 0.0)
    for (b, label) in labels.enumerated() where label >= 0 {
      count += 1
      let label = Int(label)
      let row = gradient[rows: b..<b + 1].dense
      row.copy(from: logits[rows: b..<b + 1].dense)
      let result = crossEntropy(row, label: label, factor: 1 / Float(divisor))
      loss += result.loss
      if result.best == label { correct += 1 }
      guard let teacher else { continue }
      distillation += Distillation.crossEntropy(
        logits[rows: b..<b + 1].dense, teacher[2 * b..<2 * b + 2], 2 * divisor, addingTo: row)
    }
    terms.add("nsp_loss", sum: loss, count: count)
    terms.add("nsp_accuracy", sum: Double(correct), count: count)
    if teacher != nil { terms.add("nsp_distillation_loss", sum: distillation, count: 2 * count) }
    guard let gradients else { return }
    places.backward(
      gradient, x: pooled, parameters: parameters, gradients: gradients.parameters,
      addingTo: gradients.pooled)
  }
}
