/// The tokens of a vocabulary as two byte-keyed tries: one of word beginnings, one of continuations (`##` left out).
///
/// The edges lie in one open-addressing hash table, so that a step is one multiplication and usually one cache line.
struct TokenTrie: Sendable {
  /// Where words begin, and where continuations do.
  static let wordRoot: UInt32 = 1
  static let continuationRoot: UInt32 = 2

  /// (node << 8 | byte) << 32 | child; 0 where free.
  private(set) var edges: [UInt64]
  /// The token that ends at a node, -1 where none does.
  private(set) var tokens: [Int32]
  private var edgeCount = 0
  /// 32 minus the logarithm of the number of slots.
  private(set) var shift: UInt32

  /// Nodes that an edge has bits for.
  static let nodeLimit = 1 << 24

  /// - Parameter lines: the tokens, empty ones are none.
  /// - Returns: nil for more than `nodeLimit` nodes.
  init?(_ lines: TokenLines) {
    // Two slots an edge, as tokens of a natural language share half of their bytes, so that nothing is placed twice.
    shift = 22
    while 1 << (32 - shift) < min(lines.bytes.count, Self.nodeLimit) { shift -= 1 }
    edges = [UInt64](repeating: 0, count: 1 << (32 - shift))
    tokens = [-1, -1, -1]
    tokens.reserveCapacity(lines.bytes.count + 3)
    for id in 0..<lines.count {
      let token = lines[id]
      guard !token.isEmpty else { continue }
      guard tokens.count + token.count <= Self.nodeLimit else { return nil }
      let hash = UInt8(ascii: "#")
      if token.count > 2 && token[token.startIndex] == hash && token[token.startIndex + 1] == hash {
        insert(token.dropFirst(2), below: Self.continuationRoot, as: Int32(id))
      } else {
        insert(token, below: Self.wordRoot, as: Int32(id))
      }
    }
  }

  private mutating func insert(_ bytes: ArraySlice<UInt8>, below root: UInt32, as id: Int32) {
    var node = root
    for byte in bytes {
      let key = node << 8 | UInt32(byte)
      let child = edges.withUnsafeBufferPointer { Self.child(key, $0, shift) }
      if child != 0 {
        node = child
      } else {
        let next = UInt32(tokens.count)
        tokens.append(-1)
        if edgeCount * 2 >= edges.count { grow() }
        place(UInt64(key) << 32 | UInt64(next))
        edgeCount += 1
        node = next
      }
    }
    tokens[Int(node)] = id
  }

  private mutating func grow() {
    let old = edges
    shift -= 1
    edges = [UInt64](repeating: 0, count: old.count * 2)
    for edge in old where edge != 0 { place(edge) }
  }

  private mutating func place(_ edge: UInt64) {
    var slot = Int((UInt32(edge >> 32) &* 0x9E37_79B1) >> shift)
    while edges[slot] != 0 { slot = (slot + 1) & (edges.count - 1) }
    edges[slot] = edge
  }

  /// The child under `key` = node << 8 | byte, 0 where there is none.
  @inline(__always)
  static func child(_ key: UInt32, _ edges: UnsafeBufferPointer<UInt64>, _ shift: UInt32) -> UInt32 {
    var slot = Int((key &* 0x9E37_79B1) >> shift)
    while true {
      let edge = edges[slot]
      if UInt32(truncatingIfNeeded: edge >> 32) == key { return UInt32(truncatingIfNeeded: edge) }
      if edge == 0 { return 0 }
      slot = (slot + 1) & (edges.count - 1)
    }
  }

  /// Splits a word into its longest tokens from left to right; one [UNK] where that fails.
  ///
  /// Source: the greedy longest-match-first algorithm of google-research/bert `WordpieceTokenizer`.
  ///
  /// - Cost: a hash look-up for each byte that is looked at, mostly once or twice a byte.
  @inline(__always)
  func split(_ word: UnsafeBufferPointer<UInt8>, unknown: Int32, into ids: inout [Int32]) {
    edges.withUnsafeBufferPointer { edges in
      tokens.withUnsafeBufferPointer { tokens in
        let begin = ids.count
        var start = 0
        while start < word.count {
          var node = start == 0 ? Self.wordRoot : Self.continuationRoot
          var best: Int32 = -1
          var bestEnd = start
          var index = start
          while index < word.count {
            node = Self.child(node << 8 | UInt32(word[index]), edges, shift)
            if node == 0 { break }
            index += 1
            if tokens[Int(node)] >= 0 {
              best = tokens[Int(node)]
              bestEnd = index
            }
          }
          if best < 0 {
            ids.removeLast(ids.count - begin)
            ids.append(unknown)
            return
          }
          ids.append(best)
          start = bestEnd
        }
      }
    }
  }
}
