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

  /// Elements that one step of a parallel addition handles.
  private static let panel = 16_384

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
    view.fill(0)
    return view
  }

  /// The gradient of the lane that `begin()` opened is complete.
  public mutating func end() {
    precondition(laneIsOpen, "no lane has begun")
    let root = open.tree.root
    if format == .bfloat16 && root.level > 0 {
      let leaf = buffer(open.nodes.count)
      parallelPanels(count, Self.panel) { range, _ in
        roundVector(leaf.base + range.lowerBound, count: range.count)
      }
    }
    open.append(nextLane)
    let memory = memory.view
    let (stride, count, format) = (stride, count, format)
    open.settle { position, sum in
      let left = memory.base + position * stride
      parallelPanels(count, Self.panel) { range, _ in
        let part = left + range.lowerBound
        addVectors(
          part, part + stride, count: range.count, rounding: sum == root ? .float32 : format, into: part)
      }
    }
    nextLane += 1
    laneIsOpen = false
  }

  /// The maximal subtrees of the run and their sums, in lane order; valid after the last lane's `end()`, until the next
  /// `begin()`.
  public var nodes: [(node: LaneTree.Node, view: FloatView)] {
    precondition(
      nextLane == lanes.upperBound && !laneIsOpen, "lanes \(nextLane)..<\(lanes.upperBound) are missing")
    return sums
  }

  private func buffer(_ position: Int) -> FloatView {
    memory.view[position * stride..<position * stride + count]
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
