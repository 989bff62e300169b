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
  private let add: (FloatView) -> Void
  private let finish: (Int) -> (total: FloatBufferBox, rounds: Int)
  private var exact: [Double]

  public init(_ layout: ParameterLayout, format: GradientFormat) {
    let pieces =
      UpdateExchange(
        layout: layout, hosts: HostLayout(ranks: 1, perHost: 1), synchronisation: .sharded, format: format
      ).pieces
    exact = [Double](repeating: 0, count: layout.elementCount)
    func sums<Integer: SummedInteger>(
      _: Integer.Type
    ) -> ((FloatView) -> Void, (Int) -> (total: FloatBufferBox, rounds: Int)) {
      let box = SumBox<Integer>(ExactSum(count: layout.elementCount, pieces: pieces))
      var powers = SumPowers(count: pieces.ranges.count)
      var lanes: [[Float]] = []
      return (
        { lanes.append($0.array) },
        { step in
          var rounds = 0
          repeat {
            rounds += 1
            box.sum.clear()
            for lane in lanes {
              lane.withUnsafeBufferPointer { values in
                let view = FloatView(
                  base: UnsafeMutablePointer(mutating: values.baseAddress!), count: values.count)
                box.sum.add(view, at: 0..<view.count, powers: powers)
                box.sum.note(powers: powers)
              }
            }
          } while powers.raise(for: box.sum.bounds, largest: Integer.largestTotal)
          let total = FloatBufferBox(count: layout.elementCount)
          box.sum.read(0..<layout.elementCount, powers: powers, into: total.buffer.view)
          powers.follow(box.sum.bounds, largest: Integer.largestTotal, step: step)
          lanes = []
          return (total, rounds)
        }
      )
    }
    (add, finish) = format == .int32 ? sums(UInt32.self) : sums(UInt16.self)
  }

  /// The gradient of a lane.
  public func add(lane: FloatView) {
    add(lane)
    for i in 0..<lane.count { exact[i] += Double(lane[i]) }
  }

  /// All lanes of the step have been added.
  public func endStep() {
    let (total, rounds) = finish(distances.count + 1)
    // 1 − cosine as half the squared distance of the unit vectors, which keeps its digits.
    let found = (0..<exact.count).map { Double(total.buffer.view[$0]) }
    let norms = [found, exact].map { $0.reduce(0) { $0 + $1 * $1 }.squareRoot() }
    let distance = zip(found, exact).reduce(0) {
      let difference = $1.0 / norms[0] - $1.1 / norms[1]
      return $0 + difference * difference
    }
    distances.append(distance / 2)
    self.rounds.append(rounds)
    for i in exact.indices { exact[i] = 0 }
  }
}

private final class SumBox<Integer: SummedInteger> {
  var sum: ExactSum<Integer>
  init(_ sum: consuming ExactSum<Integer>) { self.sum = sum }
}

private final class FloatBufferBox {
  let buffer: FloatBuffer
  init(count: Int) { buffer = FloatBuffer(count: count) }
}
