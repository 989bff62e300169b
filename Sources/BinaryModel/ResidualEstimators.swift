import Kernels

/// Low-rank estimators of what binarisation throws away of Q, K and V (METHOD, "Attention with residual estimators").
///
///     S_est = q_m k_pᵀ + q_p k_mᵀ + q_p k_pᵀ = (q_m + q_p) k_pᵀ + q_p k_mᵀ      (T×T, the same for every head)
///
/// Legend: B sequences, T tokens, N = B·T, H hidden, r rank.
struct ResidualEstimators {
  let places: EstimatorPlaces
  let length: Int
  /// N×r: q_m + q_p, q_p, k_m and k_p; N×1: v_p. And their gradients.
  let querySum: MatrixView
  let queryResidual: MatrixView
  let keyMain: MatrixView
  let keyResidual: MatrixView
  let valueResidual: MatrixView

  init(_ places: EstimatorPlaces, sequences: Int, length: Int, in arena: inout Arena) {
    self.places = places
    self.length = length
    let rows = sequences * length
    let rank = places.queryMain.outputs
    func matrix(_ columns: Int, _ arena: inout Arena) -> MatrixView {
      MatrixView(arena.floats(rows * columns), rows: rows, columns: columns)
    }
    querySum = matrix(rank, &arena)
    queryResidual = matrix(rank, &arena)
    keyMain = matrix(rank, &arena)
    keyResidual = matrix(rank, &arena)
    valueResidual = matrix(1, &arena)
  }

  private var rank: Int { places.queryMain.outputs }
  private func view(_ m: MatrixView) -> FloatView { FloatView(base: m.base, count: m.rows * m.columns) }
  private func tokens(of sequence: Int) -> Range<Int> { sequence * length..<(sequence + 1) * length }

  /// x: N×H. Computes the five estimates.
  func forward(_ x: MatrixView, parameters: FloatView) {
    Linear.forward(x, places.queryMain, parameters: parameters, into: querySum)
    Linear.forward(x, places.queryResidual, parameters: parameters, into: queryResidual)
    Linear.forward(x, places.keyMain, parameters: parameters, into: keyMain)
    Linear.forward(x, places.keyResidual, parameters: parameters, into: keyResidual)
    Linear.forward(x, places.valueResidual, parameters: parameters, into: valueResidual)
    view(querySum).add(view(queryResidual))
  }

  /// S_est of one sequence: T×T.
  func scores(of sequence: Int, into out: MatrixView) {
    let rows = tokens(of: sequence)
    denseProductSerial(.plain(querySum[rows: rows]), .transposed(keyResidual[rows: rows]), into: out)
    denseProductSerial(
      .plain(queryResidual[rows: rows]), .transposed(keyMain[rows: rows]), accumulate: true, into: out)
  }

  /// v_p of one sequence: T elements.
  func values(of sequence: Int) -> FloatView { view(valueResidual)[tokens(of: sequence)] }

  /// Gradients of the estimates, laid out as the estimates: from dS_est of one sequence (T×T) and dv_p (T).
  func backward(
    sequence: Int, scores d: MatrixView, values dValues: FloatView, into gradient: EstimatorGradients
  ) {
    let rows = tokens(of: sequence)
    denseProductSerial(.plain(d), .plain(keyResidual[rows: rows]), into: gradient.queryMain[rows: rows])
    gradient.queryResidual.copyRows(rows, from: gradient.queryMain)
    denseProductSerial(
      .plain(d), .plain(keyMain[rows: rows]), accumulate: true, into: gradient.queryResidual[rows: rows])
    denseProductSerial(.transposed(d), .plain(querySum[rows: rows]), into: gradient.keyResidual[rows: rows])
    denseProductSerial(.transposed(d), .plain(queryResidual[rows: rows]), into: gradient.keyMain[rows: rows])
    FloatView(base: gradient.valueResidual.base + rows.lowerBound, count: rows.count).copy(from: dValues)
  }

  /// From the estimates' gradients to those of the parameters, and of x (N×H), all added to.
  func backward(
    _ gradient: EstimatorGradients, x: MatrixView, parameters: FloatView, gradients: FloatView,
    addingTo dx: MatrixView
  ) {
    for (d, linear) in [
      (gradient.queryMain, places.queryMain), (gradient.queryResidual, places.queryResidual),
      (gradient.keyMain, places.keyMain), (gradient.keyResidual, places.keyResidual),
      (gradient.valueResidual, places.valueResidual),
    ] {
      Linear.backward(d, x: x, linear, parameters: parameters, gradients: gradients, addingTo: dx)
    }
  }
}

/// Gradients of the five estimates, one set for all layers: N×r each, N×1 for the value's.
struct EstimatorGradients {
  let queryMain: MatrixView
  let queryResidual: MatrixView
  let keyMain: MatrixView
  let keyResidual: MatrixView
  let valueResidual: MatrixView

  init(rows: Int, rank: Int, in arena: inout Arena) {
    func matrix(_ columns: Int, _ arena: inout Arena) -> MatrixView {
      MatrixView(arena.floats(rows * columns), rows: rows, columns: columns)
    }
    queryMain = matrix(rank, &arena)
    queryResidual = matrix(rank, &arena)
    keyMain = matrix(rank, &arena)
    keyResidual = matrix(rank, &arena)
    valueResidual = matrix(1, &arena)
  }
}

extension MatrixView {
  /// Copies the rows `range` of a dense matrix of the same shape.
  fileprivate func copyRows(_ range: Range<Int>, from source: MatrixView) {
    (base + range.lowerBound * stride).update(
      from: source.base + range.lowerBound * stride, count: range.count * stride)
  }
}
