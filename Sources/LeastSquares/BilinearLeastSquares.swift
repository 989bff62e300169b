import Kernels

/// The least-squares problem of a bilinear map between the rows of two matrices, over several samples n:
///
///     min over M of Σ_n ‖R_n − X_n M Y_nᵀ‖² + λ‖M‖²
///
/// with X_n: T_n×P, Y_n: T_n×K, R_n: T_n×T_n, M: P×K, by conjugate gradients on its normal equations
/// Σ_n X_nᵀX_n M Y_nᵀY_n + λM = Σ_n X_nᵀR_nY_n (Hestenes and Stiefel 1952), preconditioned with the mean Gram matrices of both
/// sides. λ is a share of the mean eigenvalue of the left side.
public struct BilinearLeastSquares: Sendable {
  private let left: [DoubleMatrix]
  private let right: [DoubleMatrix]
  /// λ
  private let ridge: Double
  private let leftFactor: CholeskyFactor
  private let rightFactor: CholeskyFactor

  /// - Parameter ridge: λ as a share of the mean eigenvalue, above 0.
  /// - Returns: nil where one side is zero everywhere or not finite: there is nothing to fit.
  public init?(left: [DoubleMatrix], right: [DoubleMatrix], ridge: Double) {
    precondition(left.count == right.count && !left.isEmpty && ridge > 0, "samples of both sides")
    func gram(_ side: [DoubleMatrix]) -> (all: DoubleMatrix, traces: [Double]) {
      var all = DoubleMatrix(rows: side[0].columns, columns: side[0].columns)
      var traces: [Double] = []
      for x in side {
        let own = DoubleMatrix.product(x, transposed: true, x)
        all.add(own)
        traces.append(own.trace)
      }
      return (all, traces)
    }
    let (lefts, rights) = (gram(left), gram(right))
    let mean =
      zip(lefts.traces, rights.traces).reduce(0) { $0 + $1.0 * $1.1 }
      / Double(lefts.all.rows * rights.all.rows)
    guard mean > 0, mean.isFinite,
      let leftFactor = Self.factor(lefts.all, ridge), let rightFactor = Self.factor(rights.all, ridge)
    else { return nil }
    self.left = left
    self.right = right
    self.ridge = ridge * mean
    self.leftFactor = leftFactor
    self.rightFactor = rightFactor
  }

  /// The factor of a Gram matrix with a share of its mean eigenvalue added.
  private static func factor(_ gram: DoubleMatrix, _ share: Double) -> CholeskyFactor? {
    var gram = gram
    let added = max(share, 1e-9) * gram.trace / Double(gram.rows)
    for index in 0..<gram.rows { gram[index, index] += added }
    return CholeskyFactor(gram)
  }

  /// Adds up what `part` makes of each sample, in the samples' order, on all threads.
  private func sum(_ part: (Int) -> DoubleMatrix) -> DoubleMatrix {
    var total = DoubleMatrix(rows: leftFactor.lower.rows, columns: rightFactor.lower.rows)
    // As many at a time as threads, so that memory stays small; the order of the sum does not depend on them.
    for start in stride(from: 0, to: left.count, by: threadCount) {
      let own = start..<min(left.count, start + threadCount)
      for part in parallelMap(own.count, { part(own.lowerBound + $0) }) { total.add(part) }
    }
    return total
  }

  private func normalProduct(_ m: DoubleMatrix) -> DoubleMatrix {
    var out = sum { n in
      let scores = DoubleMatrix.product(DoubleMatrix.product(left[n], m), right[n], otherTransposed: true)
      return DoubleMatrix.product(left[n], transposed: true, DoubleMatrix.product(scores, right[n]))
    }
    out.add(m, factor: ridge)
    return out
  }

  private func conditioned(_ m: DoubleMatrix) -> DoubleMatrix {
    rightFactor.solve(leftFactor.solve(m).transposed).transposed
  }

  /// M: P×K.
  ///
  /// - Parameters:
  ///   - targets: R_n.
  ///   - tolerance: of the normal equations' residual against their right side, at which it ends.
  /// - Cost: an iteration is 4 Σ_n T_n·(P·K + T_n·K) multiplications and additions.
  public func solve(_ targets: [DoubleMatrix], iterations: Int, tolerance: Double) -> DoubleMatrix {
    precondition(targets.count == left.count, "\(targets.count) targets of \(left.count)")
    let goal = sum { n in
      DoubleMatrix.product(left[n], transposed: true, DoubleMatrix.product(targets[n], right[n]))
    }
    var m = DoubleMatrix(rows: goal.rows, columns: goal.columns)
    var residual = goal
    var direction = conditioned(residual)
    var energy = residual.dot(direction)
    let end = tolerance * goal.sumOfSquares.squareRoot()
    for _ in 0..<iterations {
      guard residual.sumOfSquares.squareRoot() > end, energy > 0 else { break }
      let product = normalProduct(direction)
      let step = energy / direction.dot(product)
      guard step.isFinite else { break }
      m.add(direction, factor: step)
      residual.add(product, factor: -step)
      let next = conditioned(residual)
      let nextEnergy = residual.dot(next)
      var turned = next
      turned.add(direction, factor: nextEnergy / energy)
      (direction, energy) = (turned, nextEnergy)
    }
    return m
  }

  /// M ≈ A Bᵀ of rank at most `rank`, A: P×rank, B: K×rank: the singular value decomposition of M in the metric of the mean Gram
  /// matrices, then turns of solving for one side with the other held.
  ///
  /// - Parameter map: what `solve` found.
  public func truncated(
    _ map: DoubleMatrix, targets: [DoubleMatrix], rank: Int, turns: Int, ridge: Double
  ) -> (left: DoubleMatrix, right: DoubleMatrix)? {
    let white = DoubleMatrix.product(
      leftFactor.lower, transposed: true, DoubleMatrix.product(map, rightFactor.lower))
    guard let (u, values, v) = white.singularValues() else { return nil }
    func side(_ vectors: DoubleMatrix, _ factor: CholeskyFactor) -> DoubleMatrix {
      var scaled = DoubleMatrix(rows: vectors.rows, columns: rank)
      for column in 0..<min(rank, values.count) {
        let root = values[column].squareRoot()
        for row in 0..<vectors.rows { scaled[row, column] = vectors[row, column] * root }
      }
      return factor.solveTransposed(scaled)
    }
    var (a, b) = (side(u, leftFactor), side(v, rightFactor))
    let turned = targets.map(\.transposed)
    for _ in 0..<turns {
      guard
        let forLeft = BilinearLeastSquares(
          left: left, right: right.map { DoubleMatrix.product($0, b) }, ridge: ridge)
      else { break }
      a = forLeft.solve(targets, iterations: 30, tolerance: 1e-6)
      guard
        let forRight = BilinearLeastSquares(
          left: right, right: left.map { DoubleMatrix.product($0, a) }, ridge: ridge)
      else { break }
      b = forRight.solve(turned, iterations: 30, tolerance: 1e-6)
    }
    return (a, b)
  }

  /// Σ_n ‖R_n − X_n A Bᵀ Y_nᵀ‖²
  public func error(of map: (left: DoubleMatrix, right: DoubleMatrix), targets: [DoubleMatrix]) -> Double {
    left.indices.reduce(0) { sum, n in
      var rest = DoubleMatrix.product(
        DoubleMatrix.product(left[n], map.left), DoubleMatrix.product(right[n], map.right),
        otherTransposed: true)
      rest.add(targets[n], factor: -1)
      return sum + rest.sumOfSquares
    }
  }
}

/// What `body` makes of each index, on all threads.
private func parallelMap(_ count: Int, _ body: (Int) -> DoubleMatrix) -> [DoubleMatrix] {
  var results = [DoubleMatrix](repeating: DoubleMatrix(rows: 0, columns: 0), count: count)
  results.withUnsafeMutableBufferPointer { buffer in
    nonisolated(unsafe) let buffer = buffer
    parallelFor(count) { index, _ in buffer[index] = body(index) }
  }
  return results
}
