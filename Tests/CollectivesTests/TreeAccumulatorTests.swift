import Collectives
import Kernels
import Testing

@Suite struct TreeAccumulatorTests {
  static let count = 37

  /// Accumulates the lanes of `run` and checks every node against the recursive sum of its lanes.
  private func check(
    _ tree: LaneTree, _ run: Range<Int>, _ gradients: [[Float]], _ format: WireFormat
  ) {
    var accumulator = TreeAccumulator(tree: tree, lanes: run, count: Self.count, format: format)
    for step in 0..<2 {  // the second step reuses the memory
      for lane in run {
        let view = accumulator.begin()
        #expect(view.array.allSatisfy { $0 == 0 })
        view.fill(0)
        for (i, value) in gradients[lane].enumerated() { view[i] += value }
        if step == 0 {
          accumulator.end()
        } else {
          // In parts, the last ones first.
          let additions = accumulator.additions
          additions.add(30..<Self.count)
          additions.add(11..<30)
          accumulator.end(addedFrom: 11)
        }
      }
      let nodes = accumulator.nodes
      #expect(nodes.map(\.node) == tree.maximalNodes(of: run))
      for (node, view) in nodes {
        let lanes = tree.lanes(of: node)
        let expected = referenceSum(
          laneCount: lanes.count, gradients: Array(gradients[lanes]), format: format,
          isRoot: node == tree.root)
        #expect(bits(view.array) == bits(expected), "\(node) of \(tree.laneCount) lanes, run \(run)")
      }
    }
  }

  @Test(arguments: 1...24) func nodesAreTheTreeSums(laneCount: Int) {
    let tree = LaneTree(laneCount: laneCount)
    let gradients = (0..<laneCount).map { gradient(lane: $0, count: Self.count) }
    for size in tree.validSizes {
      for rank in 0..<size {
        for format in WireFormat.allCases {
          check(tree, tree.lanes(of: rank, size: size), gradients, format)
        }
      }
    }
  }

  /// Ties, carries into the exponent, zeros, what is not finite.
  @Test func roundsToNearestEven() {
    let tree = LaneTree(laneCount: 2)
    let patterns: [UInt32] = [
      0x3F80_8000, 0x3F81_8000, 0x3F80_8001, 0x3F80_7FFF, 0x3FFF_FFFF, 0xBF80_8000, 0xBFFF_8000, 0,
      0x8000_0000,
      0x7F7F_FFFF, 0x7F80_0000, 0xFF80_0000, 0x0000_8001, 0x0000_8000, 0x0080_0000, 0x3F80_0000, 0x3F81_8000,
    ]
    let expected: [UInt32] = [
      0x3F80_0000, 0x3F82_0000, 0x3F81_0000, 0x3F80_0000, 0x4000_0000, 0xBF80_0000, 0xC000_0000, 0,
      0x8000_0000,
      0x7F80_0000, 0x7F80_0000, 0xFF80_0000, 0x0001_0000, 0x0000_0000, 0x0080_0000, 0x3F80_0000, 0x3F82_0000,
    ]
    var accumulator = TreeAccumulator(tree: tree, lanes: 0..<1, count: patterns.count + 2, format: .bfloat16)
    let view = accumulator.begin()
    for (i, pattern) in patterns.enumerated() { view[i] = Float(bitPattern: pattern) }
    view[patterns.count] = Float(bitPattern: 0x7F80_0001)
    view[patterns.count + 1] = Float(bitPattern: 0xFFFF_FFFF)
    accumulator.end()
    let rounded = accumulator.nodes[0].view.array
    #expect(bits(Array(rounded.prefix(patterns.count))) == expected)
    #expect(rounded.suffix(2).allSatisfy { $0.isNaN })
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
