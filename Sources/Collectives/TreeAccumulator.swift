import Kernels

/// Adds the gradients of a rank's lanes in the order of the lane tree, like a binary counter.
///
/// For each lane of the run, in order: `begin()` gives the zeroed vector for the lane's gradient, `end()` merges it with
/// the subtrees that it completes. After the last lane, `nodes` holds the sums of exactly the run's maximal subtrees. The
/// next `begin()` starts a new step in the same memory.
///
/// - Cost: one buffer of `count` floats for each subtree that is open at once: 1 for a single lane, at most 1 + log₂(lanes)
///   for a run that is one subtree. At most one vector addition a lane on average. No allocation after `init`.
public struct TreeAccumulator: ~Copyable {
  public let lanes: Range<Int>
  public let count: Int
  /// Buffers held, each of `count` floats.
  public let bufferCount: Int

  private let format: WireFormat
  private let memory: FloatBuffer
  private let stride: Int
  private let sums: [(node: LaneTree.Node, view: FloatView)]
  private var open: OpenSubtrees
  private var nextLane: Int
  private var laneIsOpen = false

  /// For the run `lanes` of `tree` and vectors of `count` elements, the sums of which travel in `format`.
  public init(tree: LaneTree, lanes: Range<Int>, count: Int, format: WireFormat = .float32) {
    precondition(!lanes.isEmpty, "an accumulator without lanes")
    self.format = format
    self.lanes = lanes
    self.count = count
    open = OpenSubtrees(tree: tree)
    var depth = 0
    for lane in lanes {
      open.append(lane)
      depth = max(depth, open.nodes.count)
      open.settle { _, _ in }
    }
    bufferCount = depth
    stride = (count + 15) / 16 * 16  // every buffer begins on a cache line
    memory = FloatBuffer(count: depth * stride)
    var sums: [(node: LaneTree.Node, view: FloatView)] = []
    for (position, node) in open.nodes.enumerated() {
      sums.append((node, memory.view[position * stride..<position * stride + count]))
    }
    self.sums = sums
    open.removeAll()
    nextLane = lanes.lowerBound
  }

  /// The zeroed vector for the gradient of the next lane; of the first lane once all lanes are done.
  public mutating func begin() -> FloatView {
    precondition(!laneIsOpen, "lane \(nextLane) has not ended")
    if nextLane == lanes.upperBound {
      open.removeAll()
      nextLane = lanes.lowerBound
    }
    laneIsOpen = true
    let view = buffer(open.nodes.count)
    view.clear()
    return view
  }

  /// What has to be added where once elements of the open lane are complete.
  public var additions: LaneAdditions {
    precondition(laneIsOpen, "no lane has begun")
    let leaf = buffer(open.nodes.count)
    var after = open
    after.append(nextLane)
    var sums: [LaneAdditions.Sum] = []
    after.settle { position, sum in
      sums.append(
        LaneAdditions.Sum(
          left: buffer(position), right: buffer(position + 1),
          format: sum == open.tree.root ? .float32 : format))
    }
    let rounds = format == .bfloat16 && open.tree.root.level > 0
    return LaneAdditions(leaf: rounds ? leaf : nil, sums: sums)
  }

  /// The gradient of the lane that `begin()` opened is complete.
  ///
  /// - Parameter mark: the elements from this one on have been added already, by `additions`; nil if none.
  public mutating func end(addedFrom mark: Int? = nil) {
    additions.add(0..<(mark ?? count))
    open.append(nextLane)
    open.settle { _, _ in }
    nextLane += 1
    laneIsOpen = false
  }

  /// The maximal subtrees of the run and their sums, in lane order; valid after the last lane's `end()`, until the next
  /// `begin()`. While the last lane is open they are valid as far as its `additions` have been made.
  public var nodes: [(node: LaneTree.Node, view: FloatView)] {
    precondition(
      nextLane == lanes.upperBound - (laneIsOpen ? 1 : 0),
      "lanes \(nextLane)..<\(lanes.upperBound) are missing")
    return sums
  }

  private func buffer(_ position: Int) -> FloatView {
    memory.view[position * stride..<position * stride + count]
  }
}

/// The additions that the end of a lane makes due: of the lane's gradient to its sibling in the tree, of their sum to its
/// sibling, and so on. Each element goes its own way, so elements that are complete may go first.
public struct LaneAdditions {
  /// left + right, which takes the place of left.
  struct Sum {
    let left: FloatView
    let right: FloatView
    let format: WireFormat
  }

  /// Elements that one step of a parallel addition handles.
  private static let panel = 16_384

  /// The lane's gradient, where it has to be rounded.
  let leaf: FloatView?
  let sums: [Sum]

  /// Makes the additions of the elements `range`; once for each element.
  ///
  /// - Cost: one pass over as many vectors as there are sums.
  public func add(_ range: Range<Int>) {
    parallelPanels(range.count, Self.panel) { panel, _ in
      let first = range.lowerBound + panel.lowerBound
      if let leaf { roundVector(leaf.base + first, count: panel.count) }
      for sum in sums {
        let left = sum.left.base + first
        addVectors(
          left, sum.right.base + first, count: panel.count, rounds: sum.format == .bfloat16, into: left)
      }
    }
  }
}

/// The subtrees that are complete so far but whose sibling is not, first lanes first.
private struct OpenSubtrees {
  let tree: LaneTree
  private(set) var nodes: [LaneTree.Node] = []

  init(tree: LaneTree) { self.tree = tree }

  mutating func append(_ lane: Int) { nodes.append(LaneTree.Node(level: 0, index: lane)) }

  mutating func removeAll() { nodes.removeAll(keepingCapacity: true) }

  /// Replaces the last subtree by its parent as long as that is complete; `merge(position, parent)` is told to add the
  /// subtree at `position + 1` to the one at `position`, which makes that of `parent`.
  mutating func settle(merge: (_ position: Int, _ parent: LaneTree.Node) -> Void) {
    while let last = nodes.last, last != tree.root {
      if last.index % 2 == 0 {
        guard tree.lanes(of: last.sibling).isEmpty else { return }
      } else {
        let position = nodes.count - 2
        guard position >= 0, nodes[position] == last.sibling else { return }
        merge(position, last.parent)
        nodes.removeLast()
      }
      nodes[nodes.count - 1] = last.parent
    }
  }
}

/// How numbers of gradients travel between ranks.
///
/// `bfloat16` halves the bytes. All additions are made in float32, but the value of every node of the lane tree below the
/// root, each lane's own gradient included, is rounded to bfloat16 (to nearest, ties to even), whether it travels or not.
/// What a rank sends is the value of a node, so the sum has the same bits for every number of ranks. The cost: up to
/// log₂ V roundings of 2⁻⁹ relative error on an element's way to the root, where rounding only what travels would have one
/// or two; those would depend on the number of ranks.
public enum WireFormat: String, CaseIterable, Sendable {
  case float32
  case bfloat16

  /// Bytes of a number.
  public var width: Int { self == .float32 ? 4 : 2 }
}
