import Kernels
import LeastSquares
import Parameters

// The fit of what makes the scores: the step sizes of Q and K, and the estimators q_m, q_p, k_m, k_p.
//
// Legend: B sequences, T tokens, t the real ones of a sequence, N = B·T, H hidden, h heads, D = H/h, r rank.

/// How much the fits of the estimators are pulled towards zero, so that few or singular data give no wild ones.
enum EstimatorRidge {
  /// λ as a share of the mean eigenvalue of the normal equations.
  static let share = 1e-3
}

extension Fit {
  /// Sets α of Q, K and V from the attention's Q, K, V, which its scratch holds, and fits the score estimators where the rule
  /// says so.
  ///
  /// - Parameter x: N×H, the layer's input.
  func fitScores(of attention: Attention, _ x: MatrixView, _ pass: Pass) {
    let (scratch, parameters) = (pass.scratch.attention, pass.parameters)
    setStep(of: attention.queries, from: scratch.query, parameters)
    setStep(of: attention.keys, from: scratch.key, parameters)
    setStep(of: attention.values, from: scratch.value, parameters)
    let isOutput = rule == .output && reference != nil
    guard isOutput || estimators == .closedForm && attention.estimators != nil else { return }

    var arena = Arena()
    func signs(_ matrix: MatrixView) -> MatrixView {
      let out = MatrixView(
        arena.floats(matrix.rows * matrix.columns), rows: matrix.rows, columns: matrix.columns)
      matrix.writeSigns(to: out)
      return out
    }
    let own = (query: signs(scratch.query), key: signs(scratch.key))
    let target =
      isOutput
      ? (query: reference!.attention.query, key: reference!.attention.key)
      : (query: scratch.query, key: scratch.key)
    if isOutput { fitScale(of: attention, own, target, pass) }
    if let estimators = attention.estimators, self.estimators == .closedForm {
      fit(estimators, x, own, target, attention, pass)
    }
  }

  /// α_q·α_k from the scores of all heads, less their mean a row, which softmax does not see:
  /// Σ(z − z̄)(s − s̄) / Σ(z − z̄)², z of signs, s the reference's. Each takes the same factor.
  private func fitScale(
    of attention: Attention, _ own: (query: MatrixView, key: MatrixView),
    _ target: (query: MatrixView, key: MatrixView), _ pass: Pass
  ) {
    var (product, square) = (0.0, 0.0)
    for b in 0..<attention.sequences {
      for head in 0..<attention.heads {
        let count = Int(pass.tokens.lengths[b])
        func scores(_ side: (query: MatrixView, key: MatrixView)) -> DoubleMatrix {
          centred(
            attention.part(side.query, b, head)[rows: 0..<count],
            attention.part(side.key, b, head)[rows: 0..<count])
        }
        let z = scores(own)
        product += z.dot(scores(target))
        square += z.sumOfSquares
      }
    }
    let (query, key) = (attention.queries.places.step, attention.keys.places.step)
    let (q, k) = (Double(query.value(pass.parameters)), Double(key.value(pass.parameters)))
    let factor = (product / square / (q * k)).squareRoot()
    guard factor.isFinite, factor > 0 else { return note { $0.unfitted.append("the scale of the scores") } }
    query.set(q * factor, pass.parameters)
    key.set(k * factor, pass.parameters)
  }

  /// The estimators of the scores, M = w_qm w_kpᵀ + w_qp w_kmᵀ + w_qp w_kpᵀ of rank 2r, from the mean residual of the heads:
  ///
  ///     min over M of Σ_n ‖R_n − x⁺_n M x̃_nᵀ‖²
  ///
  /// with R_n the mean over the heads of the target's scores less those of signs, each row less its mean, x⁺ the input and a
  /// one (the queries' biases), and x̃ the input less its mean over the sequence: softmax sees neither a constant of a row nor
  /// the keys' biases, which centre the keys. Any M of rank 2r has the form: with M = A Bᵀ + C Dᵀ of rank r each, w_kp = B,
  /// w_qp = C, w_km = D, w_qm = A − C.
  private func fit(
    _ estimators: ResidualEstimators, _ x: MatrixView, _ own: (query: MatrixView, key: MatrixView),
    _ target: (query: MatrixView, key: MatrixView), _ attention: Attention, _ pass: Pass
  ) {
    let scale =
      Double(attention.queries.scale(pass.parameters)) * Double(attention.keys.scale(pass.parameters))
    let inputs = (0..<attention.sequences).map { b in
      let first = b * attention.length
      return x[rows: first..<first + Int(pass.tokens.lengths[b])]
    }
    let problem = BilinearLeastSquares(
      left: inputs.map { $0.doubles(withOnes: true) },
      right: inputs.map { $0.doubles(withOnes: false).lessColumnMeans() }, ridge: EstimatorRidge.share)
    var (energy, left) = (0.0, 0.0)
    for set in 0..<estimators.sets {
      // The sum over heads of Q_h K_hᵀ is Q Kᵀ: one set takes the mean of all.
      let columns =
        estimators.sets == 1
        ? 0..<x.columns : set * attention.headSize..<(set + 1) * attention.headSize
      let share = estimators.sets == 1 ? 1 / Double(attention.heads) : 1
      let residuals = (0..<attention.sequences).map { b in
        let first = b * attention.length
        let rows = first..<first + Int(pass.tokens.lengths[b])
        func scores(_ side: (query: MatrixView, key: MatrixView)) -> DoubleMatrix {
          centred(side.query[rows: rows][columns: columns], side.key[rows: rows][columns: columns])
        }
        var residual = scores(target)
        residual.add(scores(own), factor: -scale)
        for index in residual.elements.indices { residual.elements[index] *= share }
        return residual
      }
      guard let problem,
        let found = problem.truncated(
          problem.solve(residuals, iterations: 60, tolerance: 1e-4), targets: residuals,
          rank: 2 * estimators.rank, turns: 3, ridge: EstimatorRidge.share)
      else { return note { $0.unfitted.append("the estimators of the scores") } }
      energy += residuals.reduce(0) { $0 + $1.sumOfSquares }
      left += problem.error(of: found, targets: residuals)
      write(found, set: set, of: estimators, x, pass)
    }
    note { $0.scoresExplained = 1 - left / energy }
  }

  /// The maps of one set from M = (left)(right)ᵀ: of output i from the first r columns (A, B) and the last r (C, D).
  private func write(
    _ found: (left: DoubleMatrix, right: DoubleMatrix), set: Int, of estimators: ResidualEstimators,
    _ x: MatrixView, _ pass: Pass
  ) {
    let (maps, hidden, rank) = (estimators.maps, x.columns, estimators.rank)
    func write(_ map: LinearPlaces, _ value: (_ output: Int, _ input: Int) -> Double) {
      let (weight, bias) = (map.weight(pass.parameters), pass.parameters[map.bias])
      for output in 0..<rank {
        let row = set * rank + output
        for input in 0..<hidden { weight.base[row * weight.stride + input] = Float(value(output, input)) }
        bias[row] = Float(value(output, hidden))
      }
    }
    let (a, b) = (found.left, found.right)
    // The keys' biases take off the mean, so that sums of float32 stay small.
    let means = x.columnMeans(of: pass.tokens.realRows)
    func key(_ input: Int, _ column: Int) -> Double {
      input < hidden ? b[input, column] : -(0..<hidden).reduce(0) { $0 + means[$1] * b[$1, column] }
    }
    write(maps[0]) { a[$1, $0] - a[$1, $0 + rank] }
    write(maps[1]) { a[$1, $0 + rank] }
    write(maps[2]) { key($1, $0 + rank) }
    write(maps[3]) { key($1, $0) }
  }
}

/// query·keyᵀ, each row less its mean: t×t.
private func centred(_ query: MatrixView, _ key: MatrixView) -> DoubleMatrix {
  DoubleMatrix.product(
    query.doubles(withOnes: false), key.doubles(withOnes: false).lessColumnMeans(),
    otherTransposed: true)
}
