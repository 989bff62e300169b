import Kernels
import LeastSquares
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
    attention.probabilityBinariser.fit(rule, to: attention.probabilities.dense, pass.parameters)
    if rule == .output { fitContextScale(of: attention, pass) }
    if let estimators = attention.estimators, self.estimators == .closedForm {
      fitValues(estimators, x, attention, pass)
      attention.computeEstimates(x, pass)
    }
  }

  /// α_v from the contexts of all heads: α_p·α_v = Σ z c / Σ z², z of the bits of the probabilities and the signs of V, c the
  /// reference's. (A scan of α_p for the nearest context ends with every probability a one and none that a gradient passes.)
  private func fitContextScale(of attention: Attention, _ pass: Pass) {
    guard let reference else { return }
    let step = attention.probabilityBinariser.scale(pass.parameters)
    var (product, square) = (0.0, 0.0)
    for b in 0..<attention.sequences {
      let count = Int(pass.tokens.lengths[b])
      for head in 0..<attention.heads {
        let own = attention.probabilities[rows: attention.headRows(b, head)]
        var bits = DoubleMatrix(rows: count, columns: count)
        for row in 0..<count {
          for column in 0..<count where own.base[row * own.stride + column] > step / 2 {
            bits[row, column] = 1
          }
        }
        let values = attention.part(pass.scratch.attention.value, b, head)[rows: 0..<count].signs()
        let z = DoubleMatrix.product(bits, values)
        product += z.dot(attention.part(reference.context, b, head)[rows: 0..<count].doubles(withOnes: false))
        square += z.sumOfSquares
      }
    }
    let scale = product / square / Double(step)
    guard scale.isFinite, scale > 0 else { return note { $0.unfitted.append("the step size of the values") } }
    attention.values.places.step.set(scale, pass.parameters)
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
