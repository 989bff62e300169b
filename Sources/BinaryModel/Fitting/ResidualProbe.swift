import Kernels
import LeastSquares
import Parameters

/// What binarisation throws away of one head's scores and values, and how much of it the estimators stand for: sums of squares over
/// the real tokens of all sequences. Q, K, V are the operands before binarisation, Q_b, K_b, V_b after it, Δ their difference;
/// scores are not divided by √D.
public struct HeadResiduals: Equatable, Sendable {
  public internal(set) var scores = 0.0  // Q Kᵀ
  public internal(set) var residual = 0.0  // Q Kᵀ − Q_b K_bᵀ
  public internal(set) var keyTerm = 0.0  // Q_b ΔKᵀ
  public internal(set) var queryTerm = 0.0  // ΔQ K_bᵀ
  public internal(set) var bothTerm = 0.0  // ΔQ ΔKᵀ
  /// The residual as softmax sees it: each row less its mean; and what of that the estimators leave.
  public internal(set) var seenResidual = 0.0
  public internal(set) var leftOfScores = 0.0
  /// S_est, as softmax sees it.
  public internal(set) var estimate = 0.0
  public internal(set) var values = 0.0  // V
  public internal(set) var valueResidual = 0.0  // V − V_b
  public internal(set) var leftOfValues = 0.0  // V − V_b − v_p
  /// Sums over the sequences of the squares of the singular values of the residual as softmax sees it, the largest first.
  public internal(set) var spectrum: [Double] = []

  /// R² of the estimators.
  public var scoresExplained: Double { 1 - leftOfScores / seenResidual }
  public var valuesExplained: Double { 1 - leftOfValues / valueResidual }

  /// The smallest rank that holds `share` of the residual as softmax sees it, chosen anew for each sequence.
  public func rank(for share: Double) -> Int {
    let all = spectrum.reduce(0, +)
    var sum = 0.0
    for (index, value) in spectrum.enumerated() {
      sum += value
      if sum >= share * all { return index + 1 }
    }
    return spectrum.count
  }

  static func + (a: HeadResiduals, b: HeadResiduals) -> HeadResiduals {
    var sum = a
    for path in [
      \HeadResiduals.scores, \.residual, \.keyTerm, \.queryTerm, \.bothTerm, \.seenResidual, \.leftOfScores,
      \.estimate,
      \.values, \.valueResidual, \.leftOfValues,
    ] { sum[keyPath: path] += b[keyPath: path] }
    for (index, value) in b.spectrum.enumerated() {
      if index < sum.spectrum.count { sum.spectrum[index] += value } else { sum.spectrum.append(value) }
    }
    return sum
  }
}

/// How much of the scores' residual estimators of one rank could stand for: fitted in closed form to half of the sequences, measured
/// on the others.
public struct AttainableShare: Equatable, Sendable {
  public let rank: Int
  /// One set of maps for all heads, and one a head; nil where it was not asked for.
  public let shared: Double
  public let perHead: Double?
}

/// The residuals of one layer.
public struct LayerResiduals: Equatable, Sendable {
  public let layer: Int
  public let heads: [HeadResiduals]
  /// Share of the residual, as softmax sees it, that is the same in all heads: what shared estimators can stand for at most.
  public let commonShare: Double
  public let attainable: [AttainableShare]

  /// Of all heads.
  public var all: HeadResiduals { heads.dropFirst().reduce(heads[0], +) }
}

/// Measures the residuals of each layer that a forward pass goes through.
///
/// Legend: B sequences, t real tokens of one, D width of a head, H hidden, h heads.
final class ResidualProbe: LayerProbe {
  private let ranks: [Int]
  private let perHead: Bool
  private let hasSpectrum: Bool
  private(set) var layers: [LayerResiduals] = []

  /// - Parameters:
  ///   - ranks: of the estimators whose attainable share is to be told.
  ///   - perHead: whether also with maps of each head's own.
  ///   - hasSpectrum: whether singular values are wanted.
  init(ranks: [Int], perHead: Bool, hasSpectrum: Bool = true) {
    self.ranks = ranks
    self.perHead = perHead
    self.hasSpectrum = hasSpectrum
  }

  /// One head's operand, before and after binarisation.
  private struct Operand {
    let real: DoubleMatrix
    let binary: DoubleMatrix
    let rest: DoubleMatrix

    init(_ matrix: MatrixView, binary: MatrixView) {
      real = matrix.doubles(withOnes: false)
      self.binary = binary.doubles(withOnes: false)
      var rest = real
      rest.add(self.binary, factor: -1)
      self.rest = rest
    }
  }

  /// Measures an attention that has just computed its context.
  ///
  /// - Parameter x: N×H, the layer's input.
  func measure(_ attention: Attention, _ x: MatrixView, _ pass: Pass) {
    let (scratch, tokens) = (pass.scratch.attention, pass.tokens)
    let binary = scratch.workers[0].operand
    var heads = [HeadResiduals](repeating: HeadResiduals(), count: attention.heads)
    // Of each sequence, of each head: as softmax sees it.
    var seen: [[DoubleMatrix]] = []
    var common = 0.0
    for b in 0..<attention.sequences {
      let count = Int(tokens.lengths[b])
      var estimate: DoubleMatrix?
      var own: [DoubleMatrix] = []
      for head in 0..<attention.heads {
        if let estimators = attention.estimators, head < estimators.sets {
          estimate = self.estimate(estimators, b, set: head, count: count, pass)
        }
        func operand(_ matrix: MatrixView, _ binariser: ActivationBinariser) -> Operand {
          binariser.unpack(rows: attention.headRows(b, head), pass.parameters, into: binary)
          return Operand(attention.part(matrix, b, head)[rows: 0..<count], binary: binary[rows: 0..<count])
        }
        let query = operand(scratch.query, attention.queries)
        let key = operand(scratch.key, attention.keys)
        let (found, residual) = scores(query, key, estimate: estimate)
        own.append(residual)
        heads[head] =
          heads[head] + found
          + Self.values(
            operand(scratch.value, attention.values), estimate: attention.estimators?.values(of: b))
      }
      common += Self.mean(own).sumOfSquares * Double(attention.heads)
      seen.append(own)
    }
    layers.append(
      LayerResiduals(
        layer: layers.count, heads: heads,
        commonShare: common / heads.reduce(0) { $0 + $1.seenResidual },
        attainable: attainable(x, seen, attention, tokens)))
  }

  func leave(_ layer: TransformerLayer, _ pass: Pass) {}

  /// S_est of a sequence, each row less its mean over the real tokens.
  private func estimate(
    _ estimators: ResidualEstimators, _ b: Int, set: Int, count: Int, _ pass: Pass
  ) -> DoubleMatrix {
    let own = pass.scratch.attention.workers[0].estimate
    estimators.scores(of: b, set: set, order: pass.mode.sumOrder, into: own)
    return own[rows: 0..<count][columns: 0..<count].doubles(withOnes: false).lessRowMeans()
  }

  private func scores(
    _ query: Operand, _ key: Operand, estimate: DoubleMatrix?
  ) -> (HeadResiduals, seen: DoubleMatrix) {
    func product(_ a: DoubleMatrix, _ b: DoubleMatrix) -> DoubleMatrix {
      DoubleMatrix.product(a, b, otherTransposed: true)
    }
    let scores = product(query.real, key.real)
    var residual = scores
    residual.add(product(query.binary, key.binary), factor: -1)
    let seen = residual.lessRowMeans()
    var left = seen
    var found = HeadResiduals()
    if let estimate {
      left.add(estimate, factor: -1)
      found.estimate = estimate.sumOfSquares
    }
    found.scores = scores.sumOfSquares
    found.residual = residual.sumOfSquares
    found.keyTerm = product(query.binary, key.rest).sumOfSquares
    found.queryTerm = product(query.rest, key.binary).sumOfSquares
    found.bothTerm = product(query.rest, key.rest).sumOfSquares
    found.seenResidual = seen.sumOfSquares
    found.leftOfScores = left.sumOfSquares
    if hasSpectrum { found.spectrum = seen.singularValues()?.values.map { $0 * $0 } ?? [] }
    return (found, seen)
  }

  private static func values(_ value: Operand, estimate: FloatView?) -> HeadResiduals {
    var left = value.rest
    if let estimate {
      for row in 0..<left.rows {
        for column in 0..<left.columns { left[row, column] -= Double(estimate[row]) }
      }
    }
    var found = HeadResiduals()
    found.values = value.real.sumOfSquares
    found.valueResidual = value.rest.sumOfSquares
    found.leftOfValues = left.sumOfSquares
    return found
  }

  private static func mean(_ matrices: [DoubleMatrix]) -> DoubleMatrix {
    var sum = matrices[0]
    for matrix in matrices.dropFirst() { sum.add(matrix) }
    for index in sum.elements.indices { sum.elements[index] /= Double(matrices.count) }
    return sum
  }

  /// - Parameter seen: the residuals of each sequence's heads.
  private func attainable(
    _ x: MatrixView, _ seen: [[DoubleMatrix]], _ attention: Attention, _ tokens: TokenBatch
  ) -> [AttainableShare] {
    let half = attention.sequences / 2
    guard !ranks.isEmpty, half > 0 else { return [] }
    func sides(_ range: Range<Int>) -> (left: [DoubleMatrix], right: [DoubleMatrix]) {
      let inputs = range.map { b in
        let first = b * attention.length
        return x[rows: first..<first + Int(tokens.lengths[b])]
      }
      return (
        inputs.map { $0.doubles(withOnes: true) },
        inputs.map { $0.doubles(withOnes: false).lessColumnMeans() }
      )
    }
    let (fitted, tested) = (0..<half, half..<attention.sequences)
    let (own, other) = (sides(fitted), sides(tested))
    guard
      let problem = BilinearLeastSquares(left: own.left, right: own.right, ridge: EstimatorRidge.share),
      let test = BilinearLeastSquares(left: other.left, right: other.right, ridge: EstimatorRidge.share)
    else { return [] }
    /// What maps of each rank leave of `test`'s targets, after the fit to `targets`.
    func left(_ targets: [DoubleMatrix], _ tests: [DoubleMatrix]) -> [Double] {
      let map = problem.solve(targets, iterations: 60, tolerance: 1e-3)
      return ranks.map { rank in
        let found = problem.truncated(
          map, targets: targets, rank: 2 * rank, turns: 2, ridge: EstimatorRidge.share)
        return found.map { test.error(of: $0, targets: tests) } ?? .nan
      }
    }
    let all = tested.reduce(0.0) { $0 + seen[$1].reduce(0) { $0 + $1.sumOfSquares } }
    let heads = Double(attention.heads)
    let means = (fitted: fitted.map { Self.mean(seen[$0]) }, tested: tested.map { Self.mean(seen[$0]) })
    // The heads' differences from their mean are out of the reach of shared maps.
    let common = heads * means.tested.reduce(0) { $0 + $1.sumOfSquares }
    let shared = left(means.fitted, means.tested).map { 1 - (all - common + heads * $0) / all }
    var ofHeads = [Double](repeating: 0, count: ranks.count)
    if perHead {
      for head in 0..<attention.heads {
        for (index, rest) in left(fitted.map { seen[$0][head] }, tested.map { seen[$0][head] }).enumerated() {
          ofHeads[index] += rest
        }
      }
    }
    return ranks.indices.map {
      AttainableShare(rank: ranks[$0], shared: shared[$0], perHead: perHead ? 1 - ofHeads[$0] / all : nil)
    }
  }
}

extension Model {
  /// The residuals of each layer's scores and values on one batch, in network order.
  ///
  /// - Parameters:
  ///   - ranks: of estimators, fitted in closed form to half of the batch, whose share of the other half's residual is to be told.
  ///   - perHead: whether also of estimators of each head's own.
  /// - Precondition: the model's activations are binary.
  /// - Cost: a forward pass, and B·h singular value decompositions of T×T for each layer; with `ranks` as
  ///   `EstimatorFit.closedForm`, with `perHead` h times that.
  public static func residuals(
    _ parameters: FloatView, layout: ModelLayout<Goal>, batch: TokenBatch, ranks: [Int], perHead: Bool
  ) -> [LayerResiduals] {
    precondition(layout.configuration.precision.hasBinaryActivations, "residuals at full precision")
    let probe = ResidualProbe(ranks: ranks, perHead: perHead)
    pass(parameters, layout: layout, batch: batch, .probe(probe))
    return probe.layers
  }
}
