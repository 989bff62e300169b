import Collectives
import Testing

@Suite struct LaneTreeTests {
  @Test(arguments: 1...40) func runsCoverAllLanesEvenly(laneCount: Int) {
    let tree = LaneTree(laneCount: laneCount)
    for size in tree.validSizes {
      let runs = (0..<size).map { tree.lanes(of: $0, size: size) }
      #expect(runs.flatMap { Array($0) } == Array(0..<laneCount))
      let lengths = runs.map(\.count)
      #expect(lengths.min()! >= 1)
      #expect(lengths.max()! - lengths.min()! <= 1)
    }
  }

  @Test(arguments: 1...40) func maximalNodesCoverExactlyTheirRun(laneCount: Int) {
    let tree = LaneTree(laneCount: laneCount)
    for first in 0..<laneCount {
      for end in first + 1...laneCount {
        let nodes = tree.maximalNodes(of: first..<end)
        #expect(nodes.flatMap { Array(tree.lanes(of: $0)) } == Array(first..<end))
        for node in nodes where node != tree.root {
          let parent = tree.lanes(of: node.parent)
          #expect(
            parent.lowerBound < first || parent.upperBound > end,
            "\(node) is not maximal in \(first)..<\(end)")
        }
        #expect(nodes.count <= 2 * (tree.root.level + 1))
      }
    }
  }

  @Test func rootCoversAllLanes() {
    for (laneCount, level) in [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (8, 3), (9, 4), (40, 6)] {
      let tree = LaneTree(laneCount: laneCount)
      #expect(tree.root == LaneTree.Node(level: level, index: 0))
      #expect(tree.lanes(of: tree.root) == 0..<laneCount)
      #expect(tree.maximalNodes(of: 0..<laneCount) == [tree.root])
    }
  }

  @Test func evenSizesHaveOneSubtreeEach() {
    #expect(LaneTree(laneCount: 8).evenSizes == [1, 2, 4, 8])
    #expect(LaneTree(laneCount: 12).evenSizes == [3, 6, 12])
    for laneCount in 1...40 {
      let tree = LaneTree(laneCount: laneCount)
      for size in tree.evenSizes {
        for rank in 0..<size { #expect(tree.maximalNodes(of: tree.lanes(of: rank, size: size)).count == 1) }
      }
    }
  }

  @Test func refusesSizesThatDoNotFit() throws {
    let tree = LaneTree(laneCount: 6)
    try tree.check(size: 1)
    try tree.check(size: 6)
    #expect(throws: WorldError.unsuitableSize(size: 7, lanes: 6)) { try tree.check(size: 7) }
    #expect(throws: WorldError.unsuitableSize(size: 0, lanes: 6)) { try tree.check(size: 0) }
    let text = WorldError.unsuitableSize(size: 7, lanes: 6).description
    #expect(text.contains("1 to 6 ranks") && text.contains("3, 6"))
  }
}
