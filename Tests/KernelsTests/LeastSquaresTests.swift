import Kernels
import LeastSquares
import Testing

/// Float64 matrices and the bilinear least-squares problem against plain computations.
@Suite struct LeastSquaresTests {
  private static func random(_ rows: Int, _ columns: Int, _ draws: inout Draws) -> DoubleMatrix {
    DoubleMatrix(
      rows: rows, columns: columns, elements: (0..<rows * columns).map { _ in Double(draws.float()) })
  }

  private static func multiplied(_ a: DoubleMatrix, _ b: DoubleMatrix) -> DoubleMatrix {
    var out = DoubleMatrix(rows: a.rows, columns: b.columns)
    for i in 0..<a.rows {
      for j in 0..<b.columns { out[i, j] = (0..<a.columns).reduce(0) { $0 + a[i, $1] * b[$1, j] } }
    }
    return out
  }

  private static func isNear(_ a: DoubleMatrix, _ b: DoubleMatrix, _ bound: Double) -> Bool {
    var rest = a
    rest.add(b, factor: -1)
    return rest.sumOfSquares.squareRoot() <= bound * max(1, b.sumOfSquares.squareRoot())
  }

  @Test(arguments: [(1, 1, 1), (3, 5, 2), (7, 4, 9)]) func products(m: Int, n: Int, k: Int) {
    var draws = Draws(1)
    let (a, b) = (Self.random(m, k, &draws), Self.random(k, n, &draws))
    let expected = Self.multiplied(a, b)
    #expect(Self.isNear(.product(a, b), expected, 1e-14))
    #expect(Self.isNear(.product(a.transposed, transposed: true, b), expected, 1e-14))
    #expect(Self.isNear(.product(a, b.transposed, otherTransposed: true), expected, 1e-14))
  }

  @Test(arguments: [(1, 1), (6, 3), (3, 6), (5, 5)]) func singularValues(rows: Int, columns: Int) throws {
    var draws = Draws(2)
    let a = Self.random(rows, columns, &draws)
    let (left, values, right) = try #require(a.singularValues())
    #expect(values == values.sorted(by: >) && values.count == min(rows, columns))
    var scaled = left
    for row in 0..<rows { for column in values.indices { scaled[row, column] *= values[column] } }
    #expect(Self.isNear(Self.multiplied(scaled, right.transposed), a, 1e-13))
    for side in [left, right] {
      var unit = Self.multiplied(side.transposed, side)
      for index in values.indices { unit[index, index] -= 1 }
      #expect(unit.sumOfSquares < 1e-24)
    }
    #expect(DoubleMatrix(rows: 1, columns: 1, elements: [.nan]).singularValues() == nil)
  }

  @Test func choleskyFactor() throws {
    var draws = Draws(3)
    let a = Self.random(6, 4, &draws)
    let gram = Self.multiplied(a.transposed, a)
    let factor = try #require(CholeskyFactor(gram))
    #expect(Self.isNear(Self.multiplied(factor.lower, factor.lower.transposed), gram, 1e-14))
    let b = Self.random(4, 3, &draws)
    #expect(Self.isNear(Self.multiplied(gram, factor.solve(b)), b, 1e-10))
    #expect(
      Self.isNear(Self.multiplied(factor.lower.transposed, factor.solveTransposed(b)), b, 1e-12))
    #expect(CholeskyFactor(DoubleMatrix(rows: 2, columns: 2, elements: [1, 2, 2, 1])) == nil)
  }

  private struct Problem {
    var left: [DoubleMatrix] = []
    var right: [DoubleMatrix] = []
    var targets: [DoubleMatrix] = []

    init(_ lengths: [Int], p: Int, k: Int, planted: DoubleMatrix?, _ draws: inout Draws) {
      for length in lengths {
        let (x, y) = (random(length, p, &draws), random(length, k, &draws))
        left.append(x)
        right.append(y)
        targets.append(
          planted.map { multiplied(multiplied(x, $0), y.transposed) } ?? random(length, length, &draws))
      }
    }
  }

  /// The same as solving the normal equations of all P·K unknowns at once.
  @Test(arguments: [[7, 5, 9], [2, 1]]) func equalsADenseSolution(lengths: [Int]) throws {
    var draws = Draws(4)
    let (p, k) = (4, 3)
    let problem = Problem(lengths, p: p, k: k, planted: nil, &draws)
    let ridge = 1e-2
    let solver = try #require(
      BilinearLeastSquares(left: problem.left, right: problem.right, ridge: ridge))
    let found = solver.solve(problem.targets, iterations: 200, tolerance: 1e-13)

    var normal = DoubleMatrix(rows: p * k, columns: p * k)
    var goal = DoubleMatrix(rows: p * k, columns: 1)
    for (x, (y, target)) in zip(problem.left, zip(problem.right, problem.targets)) {
      for i in 0..<x.rows {
        for j in 0..<y.rows {
          // The derivative of x_i M y_jᵀ to M.
          let slope = (0..<p * k).map { x[i, $0 / k] * y[j, $0 % k] }
          for a in 0..<p * k {
            goal[a, 0] += slope[a] * target[i, j]
            for b in 0..<p * k { normal[a, b] += slope[a] * slope[b] }
          }
        }
      }
    }
    let added = ridge * normal.trace / Double(p * k)
    for a in 0..<p * k { normal[a, a] += added }
    let expected = try #require(CholeskyFactor(normal)).solve(goal)
    #expect(
      Self.isNear(found, DoubleMatrix(rows: p, columns: k, elements: expected.elements), 1e-9))
  }

  /// A residual that is a bilinear map of low rank is found exactly, also where there are fewer rows than columns.
  @Test(arguments: [([9, 8, 12], 1), ([9, 8, 12], 2), ([3, 2], 2)]) func plantedMap(lengths: [Int], rank: Int)
    throws
  {
    var draws = Draws(5)
    let (p, k) = (6, 5)
    let map = Self.multiplied(Self.random(p, rank, &draws), Self.random(rank, k, &draws))
    let problem = Problem(lengths, p: p, k: k, planted: map, &draws)
    let solver = try #require(BilinearLeastSquares(left: problem.left, right: problem.right, ridge: 1e-10))
    let whole = solver.solve(problem.targets, iterations: 400, tolerance: 1e-12)
    let found = try #require(
      solver.truncated(whole, targets: problem.targets, rank: rank, turns: 20, ridge: 1e-10))
    let energy = problem.targets.reduce(0) { $0 + $1.sumOfSquares }
    #expect(solver.error(of: found, targets: problem.targets) < 1e-9 * energy)
    if lengths.count == 3 {
      #expect(Self.isNear(Self.multiplied(found.left, found.right.transposed), map, 1e-4))
    }
  }

  /// Without anything to see there is no solution.
  @Test func nothingToSee() {
    var draws = Draws(6)
    let problem = Problem([5, 6, 7, 4, 3], p: 4, k: 4, planted: nil, &draws)
    let zero = problem.left.map { DoubleMatrix(rows: $0.rows, columns: 4) }
    #expect(BilinearLeastSquares(left: zero, right: problem.right, ridge: 1e-3) == nil)
    #expect(BilinearLeastSquares(left: problem.left, right: zero, ridge: 1e-3) == nil)
  }
}
