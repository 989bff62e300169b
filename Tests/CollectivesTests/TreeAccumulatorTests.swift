import Collectives
import Kernels
import Testing

@Suite struct TreeAccumulatorTests {
  static let count = 37

  /// Accumulates the lanes of `run` and checks every node against the recursive sum of its lanes.
  private func check(_ tree: LaneTree, _ run: Range<Int>, _ gradients: [[Float]]) {
    var accumulator = TreeAccumulator(tree: tree, lanes: run, count: Self.count)
    for _ in 0..<2 {  // the second step reuses the memory
      for lane in run {
        let view = accumulator.begin()
        #expect(view.array.allSatisfy { $0 == 0 })
        view.fill(0)
        for (i, value) in gradients[lane].enumerated() { view[i] += value }
        accumulator.end()
      }
      let nodes = accumulator.nodes
      #expect(nodes.map(\.node) == tree.maximalNodes(of: run))
      for (node, view) in nodes {
        let lanes = tree.lanes(of: node)
        let expected = referenceSum(laneCount: lanes.count, gradients: Array(gradients[lanes]))
        #expect(bits(view.array) == bits(expected), "\(node) of \(tree.laneCount) lanes, run \(run)")
      }
    }
  }

  @Test(arguments: 1...24) func nodesAreTheTreeSums(laneCount: Int) {
    let tree = LaneTree(laneCount: laneCount)
    let gradients = (0..<laneCount).map { gradient(lane: $0, count: Self.count) }
    for size in tree.validSizes {
      for rank in 0..<size { check(tree, tree.lanes(of: rank, size: size), gradients) }
    }
  }

  @Test func holdsFewBuffers() {
    let tree = LaneTree(laneCount: 16)
    func buffers(_ run: Range<Int>) -> Int { TreeAccumulator(tree: tree, lanes: run, count: 1).bufferCount }
    #expect(buffers(5..<6) == 1)
    #expect(buffers(4..<6) == 2)
    #expect(buffers(4..<8) == 3)
    #expect(buffers(0..<16) == 5)
  }

  /// Were this not so, the tests of equal bits could not fail.
  @Test func orderMatters() {
    let gradients = (0..<8).map { gradient(lane: $0, count: Self.count) }
    let inSequence = gradients.dropFirst().reduce(gradients[0]) { zip($0, $1).map { $0 + $1 } }
    #expect(bits(inSequence) != bits(referenceSum(laneCount: 8, gradients: gradients)))
  }
}
