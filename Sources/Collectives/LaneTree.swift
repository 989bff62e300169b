/// The fixed binary tree in which the gradients of a step's V lanes are added, whoever computes them.
///
/// The leaves are the lanes 0 ..< V. Node (level, index) covers the lanes [index << level, (index + 1) << level) that
/// exist. Its value is left + right, or left alone where no lane lies to the right. Every world size adds in the order
/// of this tree, so every world size gets the same bits.
public struct LaneTree: Equatable, Sendable {
  /// A subtree: `1 << level` lanes from `index << level` on, as far as they exist.
  public struct Node: Hashable, Sendable {
    public let level: Int
    public let index: Int

    public init(level: Int, index: Int) {
      self.level = level
      self.index = index
    }

    public var parent: Node { Node(level: level + 1, index: index >> 1) }
    public var sibling: Node { Node(level: level, index: index ^ 1) }
    var left: Node { Node(level: level - 1, index: index << 1) }
    var right: Node { Node(level: level - 1, index: index << 1 | 1) }
  }

  /// V.
  public let laneCount: Int

  public init(laneCount: Int) {
    precondition(laneCount > 0, "a tree of \(laneCount) lanes")
    self.laneCount = laneCount
  }

  /// The node that covers all lanes.
  public var root: Node {
    Node(level: Int.bitWidth - (laneCount - 1).leadingZeroBitCount, index: 0)
  }

  /// The lanes that `node` covers, none for a node beyond the last lane.
  public func lanes(of node: Node) -> Range<Int> {
    let first = min(node.index << node.level, laneCount)
    return first..<min((node.index + 1) << node.level, laneCount)
  }

  // MARK: Runs of lanes

  /// The world sizes that can share the lanes.
  public var validSizes: ClosedRange<Int> { 1...laneCount }

  /// The world sizes W with V/W a power of two: each rank has one subtree, all of one size. The fastest ones.
  public var evenSizes: [Int] {
    validSizes.filter { laneCount % $0 == 0 && (laneCount / $0).nonzeroBitCount == 1 }
  }

  /// Throws `WorldError.unsuitableSize` unless `size` ranks can share the lanes.
  public func check(size: Int) throws(WorldError) {
    guard validSizes.contains(size) else { throw .unsuitableSize(size: size, lanes: laneCount) }
  }

  /// The consecutive lanes of `rank` in a world of `size` ranks, as even as possible, never none.
  public func lanes(of rank: Int, size: Int) -> Range<Int> {
    precondition(validSizes.contains(size), "\(size) ranks for \(laneCount) lanes")
    return evenRun(rank, of: size, total: laneCount)
  }

  /// The largest subtrees that together cover exactly `run`, from the first lane to the last.
  ///
  /// - Cost: O(log V) nodes.
  public func maximalNodes(of run: Range<Int>) -> [Node] {
    precondition(run.lowerBound >= 0 && run.upperBound <= laneCount, "lanes \(run) of \(laneCount)")
    var nodes: [Node] = []
    func visit(_ node: Node) {
      let lanes = lanes(of: node)
      if lanes.clamped(to: run).isEmpty { return }
      if lanes.clamped(to: run) == lanes {
        nodes.append(node)
      } else {
        visit(node.left)
        visit(node.right)
      }
    }
    visit(root)
    return nodes
  }
}

/// Part `index` of `total` things cut into `count` consecutive runs whose lengths differ by at most one.
func evenRun(_ index: Int, of count: Int, total: Int) -> Range<Int> {
  precondition(index >= 0 && index < count, "part \(index) of \(count)")
  return index * total / count..<(index + 1) * total / count
}
