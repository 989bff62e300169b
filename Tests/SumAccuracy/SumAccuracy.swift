import Collectives
import Kernels
import Parameters
import Planning

/// The sum of the lanes of one step after the other as integers, beside that in double precision.
public final class SumAccuracy {
  /// 1 − cosine between the two, of each step so far.
  public private(set) var distances: [Double] = []
  /// How often the sums of each step were made.
  public private(set) var rounds: [Int] = []
  private var parts: [any PartAccuracy]
  private var exact: [Double]
  private var lanes: [[Float]] = []

  public init(_ layout: ParameterLayout, format: GradientFormat) {
    let exchange = UpdateExchange(
      layout: layout, hosts: HostLayout(ranks: 1, perHost: 1), synchronisation: .sharded, format: format)
    exact = [Double](repeating: 0, count: layout.elementCount)
    parts = exchange.parts.map { part in
      part.width == 2
        ? IntegerAccuracy<UInt16>(part.pieces, count: layout.elementCount) as any PartAccuracy
        : IntegerAccuracy<UInt32>(part.pieces, count: layout.elementCount)
    }
  }

  /// The gradient of a lane.
  public func add(lane: FloatView) {
    lanes.append(lane.array)
    for i in 0..<lane.count { exact[i] += Double(lane[i]) }
  }

  /// All lanes of the step have been added.
  public func endStep() {
    let total = FloatBuffer(count: exact.count)
    rounds.append(parts.map { $0.add(lanes, step: distances.count + 1, into: total.view) }.max() ?? 0)
    distances.append(distance(of: total.view.array))
    lanes = []
    for i in exact.indices { exact[i] = 0 }
  }
}

extension SumAccuracy {
  /// 1 − cosine between `total` and the sum of the lanes so far.
  public func distance(of total: [Float]) -> Double {
    let found = total.map(Double.init)
    // As half the squared distance of the unit vectors, which keeps its digits.
    let norms = [found, exact].map { $0.reduce(0) { $0 + $1 * $1 }.squareRoot() }
    let distance = zip(found, exact).reduce(0) {
      let difference = $1.0 / norms[0] - $1.1 / norms[1]
      return $0 + difference * difference
    }
    return distance / 2
  }
}

private protocol PartAccuracy: AnyObject {
  /// Adds the lanes of a step, writes their total, and returns how often that was done.
  func add(_ lanes: [[Float]], step: Int, into total: FloatView) -> Int
}

private final class IntegerAccuracy<Integer: SummedInteger>: PartAccuracy {
  private var sum: ExactSum<Integer>
  private var powers: SumPowers

  init(_ pieces: SumPieces, count: Int) {
    sum = ExactSum(count: count, pieces: pieces)
    powers = SumPowers(count: pieces.ranges.count)
  }

  func add(_ lanes: [[Float]], step: Int, into total: FloatView) -> Int {
    var rounds = 0
    repeat {
      rounds += 1
      sum.clear()
      for lane in lanes {
        var values = lane
        values.withUnsafeMutableBufferPointer { values in
          let view = FloatView(base: values.baseAddress!, count: values.count)
          sum.add(view, at: 0..<view.count, powers: powers)
          sum.note(powers: powers)
        }
      }
      sum.complete()
    } while powers.raise(for: sum.bounds, pieces: sum.pieces, largest: Integer.largestTotal)
    sum.read(0..<total.count, powers: powers, into: total)
    powers.follow(sum.bounds, pieces: sum.pieces, largest: Integer.largestTotal, step: step)
    return rounds
  }
}
