import DenseProducts
import Kernels
import Parameters

// The fit of what makes the context: the step sizes of the probabilities and of V, and the estimator v_p.
//
// Legend: B sequences, T tokens, t the real ones of a sequence, N = B·T, H hidden, h heads, D = H/h.

extension Fit {
  /// Sets α of the probabilities, which the attention holds, and with rule `output` that of V; then fits the value's estimator
  /// where the rule says so.
  ///
  /// - Parameter x: N×H, the layer's input.
  func fitContext(of attention: Attention, _ x: MatrixView, _ pass: Pass) {
    let isFitted = rule == .output && fitContextScale(of: attention, pass)
    if !isFitted {
      attention.probabilityBinariser.fit(rule, to: attention.probabilities.dense, pass.parameters)
    }
    if let estimators = attention.estimators, self.estimators == .closedForm {
      fitValues(estimators, x, attention, pass)
      attention.computeEstimates(x, pass)
    }
  }

  /// The bits of one head's probabilities with a step size, as numbers, t×t.
  private func bits(_ attention: Attention, _ b: Int, _ head: Int, step: Float, count: Int) -> DoubleMatrix {
    let rows = attention.headRows(b, head)
    let own = attention.probabilities[rows: rows]
    var out = DoubleMatrix(rows: count, columns: count)
    for row in 0..<count {
      for column in 0..<count where own.base[row * own.stride + column] > step / 2 { out[row, column] = 1 }
    }
    return out
  }

  /// Tries step sizes α of the probabilities, each with the best scale of the context of all heads, s = Σ z c / Σ z², z of bits
  /// and signs, c the reference's; takes the one that leaves least, and α_v = s / α.
  ///
  /// - Returns: whether one was found.
  private func fitContextScale(of attention: Attention, _ pass: Pass) -> Bool {
    guard let reference else { return false }
    let tokens = pass.tokens
    // The mean over the keys that there are.
    let entries = (0..<tokens.sequences).reduce(0) { $0 + Int(tokens.lengths[$1]) * attention.length }
    let mean = attention.probabilities.dense.sum() / Double(max(1, entries * attention.heads))
    // From a quarter of the mean to 64 times it, by half powers of two.
    let candidates = (0...16).map {
      Float(
        mean * Double(sign: .plus, exponent: $0 / 2 - 2, significand: $0 % 2 == 0 ? 1 : 2.0.squareRoot()))
    }
    var sums = [(product: Double, square: Double)](repeating: (0, 0), count: candidates.count)
    for b in 0..<attention.sequences {
      let count = Int(tokens.lengths[b])
      for head in 0..<attention.heads {
        let values = attention.part(pass.scratch.attention.value, b, head)[rows: 0..<count].signs()
        let target = attention.part(reference.context, b, head)[rows: 0..<count].doubles(withOnes: false)
        for (index, step) in candidates.enumerated() {
          let z = DoubleMatrix.product(bits(attention, b, head, step: step, count: count), values)
          sums[index].product += z.dot(target)
          sums[index].square += z.sumOfSquares
        }
      }
    }
    let gains = sums.map { $0.product > 0 && $0.square > 0 ? $0.product * $0.product / $0.square : 0 }
    guard let best = gains.indices.max(by: { gains[$0] < gains[$1] }), gains[best] > 0 else {
      note { $0.unfitted.append("the step sizes of probabilities and values") }
      return false
    }
    let step = Double(candidates[best])
    attention.probabilityBinariser.step.set(step, pass.parameters)
    attention.values.places.step.set(sums[best].product / sums[best].square / step, pass.parameters)
    return true
  }

  /// The estimator of the values, v_p(x) = x⁺ w, a ridge regression of the mean of V − V_b over the channels of all heads:
  /// what one number a token can stand for.
  private func fitValues(
    _ estimators: ResidualEstimators, _ x: MatrixView, _ attention: Attention, _ pass: Pass
  ) {
    let value = pass.scratch.attention.value
    let scale = attention.values.scale(pass.parameters)
    let size = x.columns + 1
    var gram = DoubleMatrix(rows: size, columns: size)
    var goal = DoubleMatrix(rows: size, columns: 1)
    var energy = 0.0
    for b in 0..<attention.sequences {
      let first = b * attention.length
      let rows = first..<first + Int(pass.tokens.lengths[b])
      let inputs = x[rows: rows].doubles(withOnes: true)
      var means = DoubleMatrix(rows: rows.count, columns: 1)
      for (index, row) in rows.enumerated() {
        let own = value.base + row * value.stride
        for column in 0..<value.columns {
          let rest = Double(own[column] - (own[column] >= 0 ? scale : -scale))
          means[index, 0] += rest / Double(value.columns)
          energy += rest * rest / Double(value.columns)
        }
      }
      gram.add(DoubleMatrix.product(inputs, transposed: true, inputs))
      goal.add(DoubleMatrix.product(inputs, transposed: true, means))
    }
    var raised = gram
    let added = EstimatorRidge.share * gram.trace / Double(size)
    for index in 0..<size { raised[index, index] += added }
    guard added > 0, let found = CholeskyFactor(raised)?.solve(goal) else {
      return note { $0.unfitted.append("the estimator of the values") }
    }
    let gain = 2 * found.dot(goal) - found.dot(DoubleMatrix.product(gram, found))
    note { $0.valuesExplained = energy > 0 ? gain / energy : 0 }
    let map = estimators.maps[4]
    let weight = pass.parameters[map.weight]
    for input in 0..<x.columns { weight[input] = Float(found[input, 0]) }
    pass.parameters[map.bias][0] = Float(found[x.columns, 0])
  }
}

extension MatrixView {
  /// ±1, sign(0) = +1.
  fileprivate func signs() -> DoubleMatrix {
    var out = doubles(withOnes: false)
    for index in out.elements.indices { out.elements[index] = out.elements[index] >= 0 ? 1 : -1 }
    return out
  }
}
