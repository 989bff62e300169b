import CMPI
import Kernels

/// The plan and the memory of a reduce-scatter: everyone's subtree sums of a flat vector in, the total of one's own slice
/// out, added in the order of the lane tree.
///
/// The exchange goes piece by piece, so its memory is bounded whatever the vector's length: about `pieceBudget` floats.
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

  /// Floats received at once, about.
  private static let pieceBudget = 1 << 21
  /// Floats that go through all additions while they are in the first-level cache.
  private static let block = 1024

  let rank: Int
  let slices: [Range<Int>]
  let format: WireFormat
  let ownNodes: [LaneTree.Node]
  private let sources: [Source]
  private let additions: [Addition]
  private let pieceSize: Int
  /// What came for the piece at hand: one part of it after the other, in `format`.
  private let received: FloatBuffer
  /// What goes out, if it is not sent from where it lies.
  private let outgoing: FloatBuffer
  private let partials: FloatBuffer
  /// A block of each source in float32, if it came in another format.
  private let widened: FloatBuffer
  private let messages: UnsafeMutableBufferPointer<cmpi_message>
  private let operands: UnsafeMutableBufferPointer<UnsafeMutablePointer<Float>>

  /// For the ranks that own `slices` of the vector and rank `rank` among them.
  public init(tree: LaneTree, slices: [Range<Int>], rank: Int, format: WireFormat = .float32) {
    let size = slices.count
    self.rank = rank
    self.slices = slices
    self.format = format
    sources = (0..<size).flatMap { rank in
      tree.maximalNodes(of: tree.lanes(of: rank, size: size)).map { Source(node: $0, rank: rank) }
    }
    ownNodes = sources.filter { $0.rank == rank }.map(\.node)
    additions = Self.additions(tree: tree, sources: sources)
    pieceSize = min(1 << 18, max(1 << 12, Self.pieceBudget / sources.count))
    let largest = min(pieceSize, slices.map(\.count).max() ?? 0)
    let floatsPerNumber = { (count: Int) in (count * format.width + 3) / 4 }
    received = FloatBuffer(count: size == 1 ? 0 : sources.count * floatsPerNumber(largest))
    let isNarrow = format == .bfloat16 && size > 1
    outgoing = FloatBuffer(count: isNarrow ? floatsPerNumber(ownNodes.count * (size - 1) * largest) : 0)
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

  /// Pieces of the longest slice; every rank takes part in as many exchanges.
  var pieceCount: Int { ((slices.map(\.count).max() ?? 0) + pieceSize - 1) / pieceSize }

  /// The exchanges, one after the other: how many elements of each rank's slice one brings together.
  public var rounds: [[Int]] {
    (0..<pieceCount).map { index in slices.indices.map { piece(index, of: $0).count } }
  }

  /// Piece `index` of the slice of `rank`, perhaps empty.
  private func piece(_ index: Int, of rank: Int) -> Range<Int> {
    let slice = slices[rank]
    let first = min(slice.lowerBound + index * pieceSize, slice.upperBound)
    return first..<min(first + pieceSize, slice.upperBound)
  }

  /// Where in `received` the part of source `position` begins, of a piece of `count` numbers.
  private func place(_ position: Int, _ count: Int) -> UnsafeMutableRawPointer {
    UnsafeMutableRawPointer(received.view.base) + position * ((count * format.width + 3) / 4 * 4)
  }

  /// The messages by which everyone's part of piece `index` reaches its owner.
  func exchange(
    ofPiece index: Int, nodes: [(node: LaneTree.Node, view: FloatView)]
  ) -> UnsafeBufferPointer<cmpi_message> {
    let size = slices.count
    let own = piece(index, of: rank)
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
      let theirs = piece(index, of: peer)
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

  /// Adds piece `index` of everyone's sums into its place in `result`, the whole slice.
  func add(piece index: Int, nodes: [(node: LaneTree.Node, view: FloatView)], into result: FloatView) {
    let own = piece(index, of: rank)
    var ownPosition = 0
    for (position, source) in sources.enumerated() {
      if source.rank == rank {
        operands[position] = nodes[ownPosition].view.base + own.lowerBound
        ownPosition += 1
      } else {
        operands[position] = place(position, own.count).assumingMemoryBound(to: Float.self)
      }
    }
    let target = result.base + (own.lowerBound - slices[rank].lowerBound)
    if additions.isEmpty {
      if target != operands[0] { target.update(from: operands[0], count: own.count) }
      return
    }
    let widens = format == .bfloat16 && slices.count > 1
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
          rounding: isTotal ? .float32 : format,
          into: pointer(addition.sum))
      }
      first += count
    }
  }
}

extension World {
  /// Adds the gradients of all lanes of all ranks and leaves each rank the total of its own slice, in `result`: the
  /// same bits for every world size.
  ///
  /// Each owner receives its slice of the sums of all other ranks' maximal subtrees and adds them in the order of the
  /// lane tree; its own part it reads where it lies.
  ///
  /// - Parameters:
  ///   - nodes: this rank's maximal subtrees and their sums (`TreeAccumulator.nodes`), each of the whole vector.
  ///   - result: as long as this rank's slice; may be that slice of one of `nodes`.
  /// - Cost: sends (number of own nodes) × (vector less own slice) numbers.
  public func reduceScatter(
    _ nodes: [(node: LaneTree.Node, view: FloatView)], with reduction: borrowing TreeReduction,
    into result: FloatView
  ) throws(WorldError) {
    precondition(
      reduction.rank == rank && reduction.slices.count == size,
      "a reduction of rank \(reduction.rank) of \(reduction.slices.count) on rank \(rank) of \(size)")
    precondition(
      nodes.elementsEqual(reduction.ownNodes) { $0.node == $1 },
      "sums of \(nodes.map(\.node)) instead of \(reduction.ownNodes)")
    precondition(
      result.count == reduction.slices[rank].count,
      "\(result.count) elements for a slice of \(reduction.slices[rank].count)")
    for index in 0..<reduction.pieceCount {
      try exchange(reduction.exchange(ofPiece: index, nodes: nodes), .reduceScatter)
      reduction.add(piece: index, nodes: nodes, into: result)
    }
  }
}
