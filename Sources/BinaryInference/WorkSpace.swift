/// The memory of one forward pass: one block, a function of the model's shape and the number of tokens.
///
/// Legend: T tokens, P of them at a time, H hidden, F intermediate, h heads, D = H/h, R = 4r + 1 estimates.
struct WorkSpace: ~Copyable {
  /// P: tokens whose feed-forward activations and scores are held at once. They stay in a core's cache, and memory grows
  /// with T alone. A multiple of the products' tiles.
  static let panel = 48

  /// T×H
  let state: UnsafeMutablePointer<Float>
  let middle: UnsafeMutablePointer<Float>
  /// T×H; the context takes the place of the queries, head by head.
  let query: UnsafeMutablePointer<Float>
  let key: UnsafeMutablePointer<Float>
  let value: UnsafeMutablePointer<Float>
  /// P×F
  let activated: UnsafeMutablePointer<Float>
  /// P×T
  let scores: UnsafeMutablePointer<Float>
  let estimatedScores: UnsafeMutablePointer<Float>
  /// R×T
  let estimates: UnsafeMutablePointer<Float>
  /// T, P, H
  let deviations: UnsafeMutablePointer<Float>
  let rowBias: UnsafeMutablePointer<Float>
  let row: UnsafeMutablePointer<Float>
  /// T×H or P×F bits of a layer's input.
  let inputBits: UnsafeMutablePointer<UInt64>
  /// T×D bits of one head, and D×T of its values.
  let headBits: UnsafeMutablePointer<UInt64>
  let transposedValues: UnsafeMutablePointer<UInt64>
  /// Of each head: T×D keys and D×T values in groups of 8 rows.
  let keyGroups: UnsafeMutablePointer<UInt64>
  let valueGroups: UnsafeMutablePointer<UInt64>
  /// P×T bits.
  let probabilityBits: UnsafeMutablePointer<UInt64>

  private let base: UnsafeMutableRawPointer

  /// - Cost: one allocation of `byteCount(shape, tokens:)` bytes.
  init(_ shape: ModelShape, tokens: Int) {
    let base = UnsafeMutableRawPointer.allocate(
      byteCount: Self.byteCount(shape, tokens: tokens), alignment: 64)
    var offset = 0
    let sizes = Self.sizes(shape, tokens: tokens)
    func floats(_ count: Int) -> UnsafeMutablePointer<Float> {
      defer { offset += rounded(count * 4) }
      return (base + offset).bindMemory(to: Float.self, capacity: count)
    }
    func words(_ count: Int) -> UnsafeMutablePointer<UInt64> {
      defer { offset += rounded(count * 8) }
      return (base + offset).bindMemory(to: UInt64.self, capacity: count)
    }
    self.base = base
    state = floats(sizes.floats[0])
    middle = floats(sizes.floats[1])
    query = floats(sizes.floats[2])
    key = floats(sizes.floats[3])
    value = floats(sizes.floats[4])
    activated = floats(sizes.floats[5])
    scores = floats(sizes.floats[6])
    estimatedScores = floats(sizes.floats[7])
    estimates = floats(sizes.floats[8])
    deviations = floats(sizes.floats[9])
    rowBias = floats(sizes.floats[10])
    row = floats(sizes.floats[11])
    inputBits = words(sizes.words[0])
    headBits = words(sizes.words[1])
    transposedValues = words(sizes.words[2])
    keyGroups = words(sizes.words[3])
    valueGroups = words(sizes.words[4])
    probabilityBits = words(sizes.words[5])
  }

  deinit { base.deallocate() }

  /// Bytes of a pass over `tokens` tokens.
  static func byteCount(_ shape: ModelShape, tokens: Int) -> Int {
    let sizes = sizes(shape, tokens: tokens)
    return sizes.floats.reduce(0) { $0 + rounded($1 * 4) } + sizes.words.reduce(0) { $0 + rounded($1 * 8) }
  }

  /// Elements of the parts, in their order.
  private static func sizes(_ shape: ModelShape, tokens t: Int) -> (floats: [Int], words: [Int]) {
    let (hidden, inner, width) = (shape.hiddenSize, shape.intermediateSize, shape.headSize)
    let (p, hasEstimators) = (min(t, panel), shape.estimatorRank > 0)
    let (tokenWords, headWords) = (words(t), words(width))
    return (
      [
        t * hidden, t * hidden, t * hidden, t * hidden, t * hidden, p * inner, p * t,
        hasEstimators ? p * t : 0, hasEstimators ? t * (4 * shape.estimatorRank + 1) : 0, t, p, hidden,
      ],
      [
        max(t * words(hidden), p * words(inner)), t * headWords, width * tokenWords,
        shape.heads * keyGroupWords(shape, tokens: t), shape.heads * valueGroupWords(shape, tokens: t),
        p * tokenWords,
      ]
    )
  }

  /// Words of one head's keys, and of its values.
  static func keyGroupWords(_ shape: ModelShape, tokens: Int) -> Int {
    (tokens + 7) / 8 * 8 * words(shape.headSize)
  }
  static func valueGroupWords(_ shape: ModelShape, tokens: Int) -> Int {
    (shape.headSize + 7) / 8 * 8 * words(tokens)
  }
}

/// Words of 64 bits that a row of so many takes.
private func words(_ bits: Int) -> Int { (bits + 63) / 64 }

/// Parts begin at multiples of 64 bytes.
private func rounded(_ bytes: Int) -> Int { (bytes + 63) / 64 * 64 }
