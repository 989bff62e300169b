import Foundation
import Kernels
import LeastSquares
import Testing

extension KernelSuites {
  /// Each test in a process of its own: the number of threads is one for the process and can only be raised.
  @Suite struct Parallel {
    @Test func everyIndexOnce() async {
      await #expect(processExitsWith: .success) {
        for threads in 1...3 {
          #expect(startThreads(threads) == threads && threadCount == threads)
          for count in [0, 1, 2, 3, 5, 64, 1_000] {
            var arena = Arena()
            let visits = arena.floats(count)
            let workers = arena.floats(count)
            parallelFor(count) { index, worker in
              visits.base[index] += 1
              workers.base[index] = Float(worker)
            }
            #expect(visits.array == [Float](repeating: 1, count: count))
            #expect(workers.array.allSatisfy { $0 >= 0 && Int($0) < threads })
          }
          for (count, panel) in [(0, 4), (1, 4), (8, 4), (9, 4), (100, 7)] {
            var arena = Arena()
            let visits = arena.floats(count)
            parallelPanels(count, panel) { range, _ in
              for index in range { visits.base[index] += range.lowerBound % panel == 0 ? 1 : 100 }
            }
            #expect(visits.array == [Float](repeating: 1, count: count))
          }
          #expect(startThreads(1) == threads)
        }
      }
    }

    /// Many loops in a row: no wake-up is lost.
    @Test func manyShortLoops() async {
      await #expect(processExitsWith: .success) {
        startThreads(3)
        var arena = Arena()
        let sums = arena.floats(5)
        for _ in 0..<20_000 { parallelFor(5) { index, _ in sums.base[index] += 1 } }
        #expect(sums.array == [Float](repeating: 20_000, count: 5))
      }
    }

    /// Several callers at once, while threads are added: each loop still runs each of its indices once.
    @Test func severalCallers() async {
      await #expect(processExitsWith: .success) {
        startThreads(2)
        await withTaskGroup { group in
          for caller in 0..<4 {
            group.addTask {
              for round in 0..<2_000 {
                var arena = Arena()
                let visits = arena.floats(7)
                parallelFor(7) { index, _ in visits.base[index] += 1 }
                #expect(visits.array == [Float](repeating: 1, count: 7), "caller \(caller), round \(round)")
                if caller == 0 && round == 1_000 { startThreads(3) }
              }
            }
          }
        }
      }
    }

    /// Large enough for several panels everywhere.
    @Test func sameBitsWithAnyNumberOfThreads() async {
      await #expect(processExitsWith: .success) {
        useSingleThreadedBLAS()
        var first: [[UInt32]]?
        for threads in 1...3 {
          startThreads(threads)
          let found = parallelResults()
          if let first { #expect(found == first, "\(threads) threads") } else { first = found }
        }
      }
    }
  }
}

/// What the kernels that run in parallel make of the same numbers.
private func parallelResults() -> [[UInt32]] {
  var draws = Draws(9)
  var arena = Arena()
  let (rows, columns) = (300, 230)
  let count = rows * columns
  var results: [[UInt32]] = []
  let x = arena.matrix(draws.mixed(count), rows: rows, columns: columns)
  let xs = FloatView(base: x.base, count: count)
  let (weight, bias) = (arena.floats(draws.floats(columns)), arena.floats(draws.floats(columns)))
  let (signs, within) = (arena.bits(rows: rows, columns: columns), arena.bits(rows: rows, columns: columns))
  pack(x, shift: bias, step: 1, signs: signs, within: within)
  let product = arena.strided(rows: rows, columns: rows, gap: 0)
  xnorProduct(signs, arena.interleaved(signs), scale: 0.1, bias: nil, into: product)
  results.append(bitPatterns(product.array))
  let (hat, y, inverse) = (arena.floats(count), arena.floats(count), arena.floats(rows))
  normalise(
    x, epsilon: 1e-12, weight: weight, bias: bias, normalised: hat, inverseDeviation: inverse, into: y)
  results.append(bitPatterns(hat.array + inverse.array + y.array))
  let dx = arena.matrix(draws.floats(count), rows: rows, columns: columns)
  let sums = arena.floats(columns)
  let step = signBackward(
    MatrixView(y, rows: rows, columns: columns), signs: signs, within: within, add: true, dx: dx,
    shiftGradient: sums)
  x.addColumnSums(to: sums)
  x.addColumnDots(with: dx, to: sums)
  results.append(bitPatterns(dx.array + sums.array + [Float(step)]))
  normaliseBackward(dx, weight: weight, normalised: hat, inverseDeviation: inverse, into: y)
  y.gelu(of: xs)
  y.multiplyByGELUDerivative(at: hat)
  y.add(xs)
  y.multiply(by: 0.3)
  results.append(bitPatterns(y.array))
  let (m, v) = (arena.floats(count), arena.floats(count))
  AdamW(step: 2, learningRate: 0.1, gradientFactor: 1).update(
    xs, gradients: hat, firstMoments: m, secondMoments: v, decay: 0.1)
  results.append(bitPatterns(xs.array + m.array + v.array))
  for (a, b) in [
    (Operand.plain(x), Operand.transposed(dx)), (.transposed(x), .plain(dx)),
    (.plain(product), .plain(dx)),
  ] {
    let out = arena.strided(rows: a.matrixRows, columns: b.matrixColumns, gap: 0)
    denseProduct(a, b, into: out)
    results.append(bitPatterns(out.array))
  }
  let packed = Bfloat16Matrix(rows: rows, columns: columns, in: &arena)
  packed.pack(dx)
  bfloat16Product(x, packed, bias: nil, into: product)
  results.append(bitPatterns(product.array))
  return results
}

extension Operand {
  /// The shape of the operand as the product sees it.
  fileprivate var matrixRows: Int {
    switch self {
    case .plain(let m): m.rows
    case .transposed(let m): m.columns
    }
  }
  fileprivate var matrixColumns: Int {
    switch self {
    case .plain(let m): m.columns
    case .transposed(let m): m.rows
    }
  }
}
