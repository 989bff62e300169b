import Kernels

#if canImport(Glibc)
  import func Glibc.exp
#else
  import func Darwin.exp
#endif

/// Next-sentence prediction: logits = W pooled + b, two classes (0: the second segment follows the first).
///
/// Legend: B sequences, H hidden.
struct SequenceHead {
  let places: LinearPlaces
  /// B×2, and their gradient.
  let logits: MatrixView
  let gradient: MatrixView

  init(_ places: ModelPlaces, sequences: Int, in arena: inout Arena) {
    self.places = places.sequenceRelationship
    logits = MatrixView(arena.floats(sequences * 2), rows: sequences, columns: 2)
    gradient = MatrixView(arena.floats(sequences * 2), rows: sequences, columns: 2)
  }

  func forward(_ pooled: MatrixView, parameters: FloatView) {
    Linear.forward(pooled, places, parameters: parameters, into: logits)
  }

  /// Losses; leaves their gradient to the logits in `gradient`.
  ///
  /// - Parameters:
  ///   - divisor: the global number of sequences.
  ///   - teacher: B×2 logits of the teacher, or nil.
  func losses(batch: Batch, divisor: Int, teacher: FloatView?) -> LossSums {
    var sums = LossSums()
    for b in 0..<batch.sequences {
      guard batch.nextSentenceLabels[b] >= 0 else { continue }
      sums.sequences += 1
      let student = (logits.base[2 * b], logits.base[2 * b + 1])
      let label = Int(batch.nextSentenceLabels[b])
      let row = FloatView(base: gradient.base + 2 * b, count: 2)
      row.base[0] = student.0
      row.base[1] = student.1
      let result = crossEntropy(row, label: label, factor: 1 / Float(divisor))
      sums.nsp += result.loss
      if result.best == label { sums.nspCorrect += 1 }
      guard let teacher else { continue }
      // Σ −t log s, t = softmax(teacher): the gradient is softmax(s) − t, over 2·sequences elements.
      for target in 0..<2 {
        let (own, other) = (teacher.base[2 * b + target], teacher.base[2 * b + 1 - target])
        let weight = 1 / (1 + exp(Double(other) - Double(own)))
        withUnsafeTemporaryAllocation(of: Float.self, capacity: 2) { copy in
          let copy = FloatView(base: copy.baseAddress!, count: 2)
          copy.base[0] = student.0
          copy.base[1] = student.1
          let part = crossEntropy(copy, label: target, factor: Float(weight) / Float(2 * divisor))
          sums.nspDistillation += weight * part.loss
          row.addSerial(copy)
        }
      }
    }
    return sums
  }

  /// From `gradient` to dPooled: B×H, written; the gradients of weight and bias are added to.
  func backward(pooled: MatrixView, parameters: FloatView, gradients: FloatView, into dPooled: MatrixView) {
    dPooled.dense.fill(0)
    Linear.backward(
      gradient, x: pooled, places, parameters: parameters, gradients: gradients, addingTo: dPooled)
  }
}
