import CMPI
import Kernels

/// The plan and the memory of a reduce-scatter: everyone's subtree sums of a flat vector in, the total of one's own slice
/// out, added in the order of the lane tree.
///
/// The exchange goes bucket by bucket, so its memory is bounded whatever the vector's length: for each sum that a rank sends,
/// one bucket.
///
/// - Cost: allocates once; no allocation in `World.reduceScatter`.
public struct TreeReduction: ~Copyable {
  /// Where an operand or a result of an addition lies.
  private enum Place {
    /// The sum of a subtree: one's own, or received.
    case node(Int)
    /// Scratch memory of a tree level.
    case partial(level: Int)
    case result
  }

  private struct Addition {
    let left: Place
    let right: Place
    let sum: Place
  }

  /// A subtree that reaches the owners ready-made, and the rank that has it.
  private struct Source {
    let node: LaneTree.Node
    let rank: Int
  }

  /// Floats that go through all additions while they are in the first-level cache.
  private static let block = 1024

  let rank: Int
  /// Of each bucket the elements that each rank owns, in rank order.
  let buckets: [[Range<Int>]]
  let size: Int
  let format: WireFormat
  let ownNodes: [LaneTree.Node]
  private let sources: [Source]
  private let additions: [Addition]
  /// What came for the bucket at hand: one part of it after the other, in `format`.
  private let received: FloatBuffer
  /// What goes out, if it is not sent from where it lies.
  private let outgoing: FloatBuffer
  private let partials: FloatBuffer
  /// A block of each source in float32, if it came in another format.
  private let widened: FloatBuffer
  private let messages: UnsafeMutableBufferPointer<cmpi_message>
  private let operands: UnsafeMutableBufferPointer<UnsafeMutablePointer<Float>>

  /// For rank `rank` of those that own the vector as `buckets` say: of each bucket the elements of each rank.
  public init(
    tree: LaneTree, size: Int, buckets: [[Range<Int>]], rank: Int, format: WireFormat = .float32
  ) {
    precondition(buckets.allSatisfy { $0.count == size }, "a bucket that \(size) ranks do not share")
    self.rank = rank
    self.size = size
    self.buckets = buckets
    self.format = format
    sources = (0..<size).flatMap { rank in
      tree.maximalNodes(of: tree.lanes(of: rank, size: size)).map { Source(node: $0, rank: rank) }
    }
    ownNodes = sources.filter { $0.rank == rank }.map(\.node)
    additions = Self.additions(tree: tree, sources: sources)
    let own = buckets.map { $0[rank].count }.max() ?? 0
    let others = buckets.map { $0.reduce(0) { $0 + $1.count } - $0[rank].count }.max() ?? 0
    let floatsPerNumber = { (count: Int) in (count * format.width + 3) / 4 }
    received = FloatBuffer(count: size == 1 ? 0 : sources.count * floatsPerNumber(own))
    let isNarrow = format == .bfloat16 && size > 1
    outgoing = FloatBuffer(count: isNarrow ? floatsPerNumber(ownNodes.count * others) : 0)
    widened = FloatBuffer(count: isNarrow ? sources.count * Self.block : 0)
    partials = FloatBuffer(count: (tree.root.level + 1) * Self.block)
    messages = .allocate(capacity: sources.count + ownNodes.count * size)
    operands = .allocate(capacity: sources.count)
  }

  /// Bytes of what is on its way.
  public var byteCount: Int {
    (received.count + outgoing.count + widened.count + partials.count) * MemoryLayout<Float>.size
  }

  deinit {
    messages.deallocate()
    operands.deallocate()
  }

  /// The additions that make the root's value out of the sources, each after those it needs.
  private static func additions(tree: LaneTree, sources: [Source]) -> [Addition] {
    var additions: [Addition] = []
    // Returns where the value of `node` is found; `scratch` is the level whose scratch memory it may use.
    func visit(_ node: LaneTree.Node, scratch: Int) -> Place {
      if let index = sources.firstIndex(where: { $0.node == node }) { return .node(index) }
      let left = visit(node.left, scratch: scratch)
      if tree.lanes(of: node.right).isEmpty { return left }
      let right = visit(node.right, scratch: node.level - 1)
      let sum: Place = node == tree.root ? .result : .partial(level: scratch)
      additions.append(Addition(left: left, right: right, sum: sum))
      return sum
    }
    _ = visit(tree.root, scratch: tree.root.level)
    return additions
  }

  /// Where in `received` the part of source `position` begins, of a run of `count` numbers.
  private func place(_ position: Int, _ count: Int) -> UnsafeMutableRawPointer {
    UnsafeMutableRawPointer(received.view.base) + position * ((count * format.width + 3) / 4 * 4)
  }

  /// The messages by which everyone's part of a bucket reaches its owners.
  func exchange(
    ofBucket bucket: Int, nodes: [(node: LaneTree.Node, view: FloatView)]
  ) -> UnsafeBufferPointer<cmpi_message> {
    let runs = buckets[bucket]
    let own = runs[rank]
    var count = 0
    func append(_ base: UnsafeMutableRawPointer, _ numbers: Int, peer: Int, outgoing: Bool) {
      messages.initializeElement(
        at: count,
        to: cmpi_message(
          bytes: base, count: numbers * format.width, peer: Int32(peer), outgoing: outgoing))
      count += 1
    }
    for (position, source) in sources.enumerated() where source.rank != rank && !own.isEmpty {
      append(place(position, own.count), own.count, peer: source.rank, outgoing: false)
    }
    var free = UnsafeMutableRawPointer(outgoing.view.base).assumingMemoryBound(to: UInt16.self)
    // Everyone begins with another peer, so that no rank is sent to by all at once.
    for distance in 1..<max(size, 1) {
      let peer = (rank + distance) % size
      let theirs = runs[peer]
      for (_, view) in nodes where !theirs.isEmpty {
        let part = view.base + theirs.lowerBound
        switch format {
        case .float32: append(part, theirs.count, peer: peer, outgoing: true)
        case .bfloat16:
          narrowVector(part, count: theirs.count, into: free)
          append(free, theirs.count, peer: peer, outgoing: true)
          free += theirs.count
        }
      }
    }
    return UnsafeBufferPointer(rebasing: messages[..<count])
  }

  /// Adds everyone's sums of a bucket, as far as this rank owns it, into their place in `result`, the whole vector.
  func add(bucket: Int, nodes: [(node: LaneTree.Node, view: FloatView)], into result: FloatView) {
    let own = buckets[bucket][rank]
    var ownPosition = 0
    for (position, source) in sources.enumerated() {
      if source.rank == rank {
        operands[position] = nodes[ownPosition].view.base + own.lowerBound
        ownPosition += 1
      } else {
        operands[position] = place(position, own.count).assumingMemoryBound(to: Float.self)
      }
    }
    let target = result.base + own.lowerBound
    if additions.isEmpty {
      if target != operands[0] { target.update(from: operands[0], count: own.count) }
      return
    }
    let widens = format == .bfloat16 && size > 1
    var first = 0
    while first < own.count {
      let count = min(Self.block, own.count - first)
      for (position, source) in sources.enumerated() where widens && source.rank != rank {
        let halves = UnsafeRawPointer(operands[position]).assumingMemoryBound(to: UInt16.self)
        widenVector(halves + first, count: count, into: widened.view.base + position * Self.block)
      }
      func pointer(_ place: Place) -> UnsafeMutablePointer<Float> {
        switch place {
        case .node(let position):
          widens && sources[position].rank != rank
            ? widened.view.base + position * Self.block : operands[position] + first
        case .partial(let level): partials.view.base + level * Self.block
        case .result: target + first
        }
      }
      for addition in additions {
        let isTotal = if case .result = addition.sum { true } else { false }
        addVectors(
          pointer(addition.left), pointer(addition.right), count: count,
          rounds: !isTotal && format == .bfloat16, into: pointer(addition.sum))
      }
      first += count
    }
  }
}

extension World {
  /// Adds the gradients of all lanes of all ranks and leaves each rank the total of its own slice, in its place in
  /// `result`: the same bits for every world size.
  ///
  /// Each owner receives its slice of the sums of all other ranks' maximal subtrees and adds them in the order of the
  /// lane tree; its own part it reads where it lies.
  ///
  /// - Parameters:
  ///   - nodes: this rank's maximal subtrees and their sums (`TreeAccumulator.nodes`), each of the whole vector.
  ///   - result: of the whole vector; only this rank's slice is written. May be one of `nodes`.
  ///   - begin: told the number of each bucket before it is exchanged, last buckets first.
  /// - Cost: sends (number of own nodes) × (vector less own slice) numbers.
  public func reduceScatter(
    _ nodes: [(node: LaneTree.Node, view: FloatView)], with reduction: borrowing TreeReduction,
    into result: FloatView, begin: (_ bucket: Int) -> Void = { _ in }
  ) throws(WorldError) {
    precondition(
      reduction.rank == rank && reduction.size == size,
      "a reduction of rank \(reduction.rank) of \(reduction.size) on rank \(rank) of \(size)")
    precondition(
      nodes.elementsEqual(reduction.ownNodes) { $0.node == $1 },
      "sums of \(nodes.map(\.node)) instead of \(reduction.ownNodes)")
    for bucket in reduction.buckets.indices.reversed() {
      begin(bucket)
      try exchange(reduction.exchange(ofBucket: bucket, nodes: nodes), .reduceScatter)
      reduction.add(bucket: bucket, nodes: nodes, into: result)
    }
  }
}
