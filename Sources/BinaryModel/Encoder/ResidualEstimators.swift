import Kernels
import Parameters

/// The residual estimators of one layer, (s·r)×H each but the value's, which is 1×H. Legend: r rank, s sets: 1, or one a head.
struct EstimatorPlaces: Sendable {
  let queryMain: LinearPlaces
  let queryResidual: LinearPlaces
  let keyMain: LinearPlaces
  let keyResidual: LinearPlaces
  let valueResidual: LinearPlaces

  /// Adds the tensors of the estimators, whose names begin with `prefix`, to a layout; nil at rank 0.
  init?(_ prefix: String, rank: Int, sets: Int, hidden: Int, in layout: inout LayoutBuilder) {
    if rank == 0 { return nil }
    let rank = rank * sets
    queryMain = LinearPlaces(prefix + "q_m", outputs: rank, inputs: hidden, in: &layout)
    queryResidual = LinearPlaces(prefix + "q_p", outputs: rank, inputs: hidden, in: &layout)
    keyMain = LinearPlaces(prefix + "k_m", outputs: rank, inputs: hidden, in: &layout)
    keyResidual = LinearPlaces(prefix + "k_p", outputs: rank, inputs: hidden, in: &layout)
    valueResidual = LinearPlaces(prefix + "v_p", outputs: 1, inputs: hidden, in: &layout)
  }
}

/// Low-rank estimators of what binarisation throws away of Q, K and V (METHOD, "Attention with residual estimators").
///
///     S_est = q_m k_pᵀ + q_p k_mᵀ + q_p k_pᵀ = (q_m + q_p) k_pᵀ + q_p k_mᵀ      (T×T, of all heads or of each its own)
///
/// The five linear maps q_m, q_p, k_m, k_p (rank r each, a set after the other) and v_p (rank 1) are computed as one of
/// R = 4·s·r + 1 outputs.
///
/// Legend: B sequences, T tokens, N = B·T, H hidden, r rank, s sets: 1, or one a head.
struct ResidualEstimators {
  /// In the order of the rows of `estimates`.
  let maps: [LinearPlaces]
  let sets: Int
  let length: Int
  /// R×N: q_m + q_p, q_p, k_m, k_p (s·r rows each) and v_p.
  let estimates: MatrixView

  init(_ places: EstimatorPlaces, sets: Int, sequences: Int, length: Int, in arena: inout Arena) {
    self.sets = sets
    maps = [
      places.queryMain, places.queryResidual, places.keyMain, places.keyResidual, places.valueResidual,
    ]
    self.length = length
    let (rows, outputs) = (sequences * length, 4 * places.queryMain.outputs + 1)
    estimates = MatrixView(arena.floats(outputs * rows), rows: outputs, columns: rows)
  }

  /// r
  var rank: Int { maps[0].outputs / sets }
  private func tokens(of sequence: Int) -> Range<Int> { sequence * length..<(sequence + 1) * length }

  /// Rows of map `index` of an R×N matrix.
  private func rows(_ index: Int, of matrix: MatrixView) -> MatrixView {
    let outputs = maps[0].outputs
    return matrix[rows: index * outputs..<min((index + 1) * outputs, matrix.rows)]
  }

  /// Those of one set.
  private func rows(_ index: Int, set: Int, of matrix: MatrixView) -> MatrixView {
    rows(index, of: matrix)[rows: set * rank..<(set + 1) * rank]
  }

  /// Copies the weights of the five maps together: R×H.
  private func gatherWeights(_ parameters: FloatView, scratch: EstimatorScratch) {
    var row = 0
    for map in maps {
      let count = map.outputs * map.inputs
      FloatView(base: scratch.weight.base + row * map.inputs, count: count).copy(from: parameters[map.weight])
      row += map.outputs
    }
  }

  /// x: N×H. Computes the five estimates.
  ///
  /// - Cost: one product of 2·N·H·R operations.
  func forward(_ x: MatrixView, parameters: FloatView, order: SumOrder, scratch: EstimatorScratch) {
    gatherWeights(parameters, scratch: scratch)
    switch order {
    case .training: denseProduct(.plain(scratch.weight), .transposed(x), into: estimates)
    case .fixed: fixedOrderLinear(scratch.weight, x, bias: nil, into: estimates)
    }
    var row = 0
    for map in maps {
      for output in 0..<map.outputs {
        estimates[rows: row..<row + 1].addToColumns(parameters[map.bias][output..<output + 1])
        row += 1
      }
    }
    rows(0, of: estimates).dense.add(rows(1, of: estimates).dense)
  }

  /// S_est of one sequence: T×T.
  func scores(of sequence: Int, set: Int, order: SumOrder, into out: MatrixView) {
    let own = estimates[columns: tokens(of: sequence)]
    func rows(_ index: Int, of matrix: MatrixView) -> MatrixView { self.rows(index, set: set, of: matrix) }
    switch order {
    case .training:
      denseProductSerial(.transposed(rows(0, of: own)), .plain(rows(3, of: own)), into: out)
      denseProductSerial(
        .transposed(rows(1, of: own)), .plain(rows(2, of: own)), accumulate: true, into: out)
    case .fixed:
      fixedOrderTransposedProductSerial(rows(0, of: own), rows(3, of: own), into: out)
      fixedOrderTransposedProductSerial(rows(1, of: own), rows(2, of: own), accumulate: true, into: out)
    }
  }

  /// v_p of one sequence: T elements.
  func values(of sequence: Int) -> FloatView {
    rows(4, of: estimates).dense[tokens(of: sequence)]
  }

  /// Gradients of a set's estimates q_m, q_p, k_m, k_p of one sequence, from dS_est (T×T).
  func backward(sequence: Int, set: Int, scores d: MatrixView, scratch: EstimatorScratch) {
    let own = estimates[columns: tokens(of: sequence)]
    let gradient = scratch.gradient[columns: tokens(of: sequence)]
    func rows(_ index: Int, of matrix: MatrixView) -> MatrixView { self.rows(index, set: set, of: matrix) }
    denseProductSerial(.plain(rows(3, of: own)), .transposed(d), into: rows(0, of: gradient))
    for row in 0..<rank {
      let main = FloatView(base: rows(0, of: gradient).base + row * gradient.stride, count: length)
      FloatView(base: rows(1, of: gradient).base + row * gradient.stride, count: length).copy(from: main)
    }
    denseProductSerial(
      .plain(rows(2, of: own)), .transposed(d), accumulate: true, into: rows(1, of: gradient))
    denseProductSerial(.plain(rows(1, of: own)), .plain(d), into: rows(2, of: gradient))
    denseProductSerial(.plain(rows(0, of: own)), .plain(d), into: rows(3, of: gradient))
  }

  /// Gradient of the estimate v_p of one sequence: dv_p (T).
  func backward(sequence: Int, values d: FloatView, scratch: EstimatorScratch) {
    let gradient = scratch.gradient[columns: tokens(of: sequence)]
    FloatView(base: rows(4, of: gradient).base, count: length).copy(from: d)
  }

  /// From the estimates' gradients to those of the parameters, and of x (N×H), all added to.
  ///
  /// - Cost: two products of 2·N·H·R operations.
  func backward(
    x: MatrixView, parameters: FloatView, gradients: FloatView, scratch: EstimatorScratch,
    addingTo dx: MatrixView
  ) {
    gatherWeights(parameters, scratch: scratch)
    denseProduct(.transposed(scratch.gradient), .plain(scratch.weight), accumulate: true, into: dx)
    denseProduct(.plain(scratch.gradient), .plain(x), into: scratch.weightGradient)
    var row = 0
    for map in maps {
      let own = row..<row + map.outputs
      gradients[map.weight].addSerial(scratch.weightGradient[rows: own].dense)
      scratch.gradient[rows: own].addRowSums(to: gradients[map.bias])
      row += map.outputs
    }
  }
}

/// Memory that the estimators of all layers share. Legend: as `ResidualEstimators`; here r is that of all sets together.
struct EstimatorScratch {
  /// R×H
  let weight: MatrixView
  let weightGradient: MatrixView
  /// R×N: gradients of q_m, q_p, k_m, k_p and v_p.
  let gradient: MatrixView

  init(rows: Int, rank: Int, hidden: Int, in arena: inout Arena) {
    let outputs = 4 * rank + 1
    weight = MatrixView(arena.floats(outputs * hidden), rows: outputs, columns: hidden)
    weightGradient = MatrixView(arena.floats(outputs * hidden), rows: outputs, columns: hidden)
    gradient = MatrixView(arena.floats(outputs * rows), rows: outputs, columns: rows)
  }
}
