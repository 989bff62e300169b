import CBitKernels

/// The memory of one forward pass: one block, a function of the model's shape and the number of tokens. A pass over fewer tokens
/// may use it too.
///
/// Legend: T tokens, P of them at a time, A of these in attention, H hidden, F intermediate, h heads, D = H/h, R = 4r + 1
/// estimates.
struct WorkSpace: ~Copyable {
  /// P: tokens that go from attention to the layer's output at once. Their activations stay in a core's cache, and beside the
  /// state memory grows with T in bits alone. A multiple of the products' tiles.
  static let panel = 48
  /// A
  static let attentionRows = BK_ATTENTION_ROWS

  /// T×H
  let state: UnsafeMutablePointer<Float>
  /// P×H
  let middle: UnsafeMutablePointer<Float>
  /// R×T
  let estimates: UnsafeMutablePointer<Float>
  /// A×T
  let estimatedScores: UnsafeMutablePointer<Float>
  /// P
  let deviations: UnsafeMutablePointer<Float>
  /// What `attend` works in.
  let attention: UnsafeMutableRawPointer
  /// P×H bits of a layer's input, of queries and of the context; P×F of gelu's output.
  let inputBits: UnsafeMutablePointer<UInt64>
  let queryBits: UnsafeMutablePointer<UInt64>
  let contextBits: UnsafeMutablePointer<UInt64>
  let innerBits: UnsafeMutablePointer<UInt64>
  /// T×H bits of keys or values; T×D of one head, D×T of its values.
  let rowBits: UnsafeMutablePointer<UInt64>
  let headBits: UnsafeMutablePointer<UInt64>
  let transposedValues: UnsafeMutablePointer<UInt64>
  /// Of each head: T×D keys and D×T values in groups of 8 rows.
  private let keyGroups: UnsafeMutablePointer<UInt64>
  private let valueGroups: UnsafeMutablePointer<UInt64>

  /// Where activations are more than signs (`LevelPass.swift`), else of no bytes: P×max(H, F) planes of a layer's input, and
  /// what it puts out; of each head T×D keys and D×T values; P×D of one head; P×T scores; P; P×H of the context.
  let planes: UnsafeMutablePointer<UInt64>
  let wide: UnsafeMutablePointer<Float>
  let keyLevels: UnsafeMutablePointer<Float>
  let valueLevels: UnsafeMutablePointer<Float>
  let headLevels: UnsafeMutablePointer<Float>
  let scores: UnsafeMutablePointer<Float>
  let rowBias: UnsafeMutablePointer<Float>
  let context: UnsafeMutablePointer<Float>

  private let base: UnsafeMutableRawPointer

  /// - Cost: one allocation of `byteCount(shape, tokens:)` bytes.
  init(_ shape: ModelShape, tokens: Int) {
    let sizes = Self.sizes(shape, tokens: tokens)
    let base = UnsafeMutableRawPointer.allocate(
      byteCount: sizes.reduce(0) { $0 + rounded($1) }, alignment: 64)
    self.base = base
    var (offset, part) = (0, 0)
    func next() -> UnsafeMutableRawPointer {
      defer { (offset, part) = (offset + rounded(sizes[part]), part + 1) }
      return base + offset
    }
    func floats() -> UnsafeMutablePointer<Float> {
      let count = sizes[part] / 4
      return next().bindMemory(to: Float.self, capacity: count)
    }
    func words() -> UnsafeMutablePointer<UInt64> {
      let count = sizes[part] / 8
      return next().bindMemory(to: UInt64.self, capacity: count)
    }
    state = floats()
    middle = floats()
    estimates = floats()
    estimatedScores = floats()
    deviations = floats()
    attention = next()
    inputBits = words()
    queryBits = words()
    contextBits = words()
    innerBits = words()
    rowBits = words()
    headBits = words()
    transposedValues = words()
    keyGroups = words()
    valueGroups = words()
    planes = words()
    wide = floats()
    keyLevels = floats()
    valueLevels = floats()
    headLevels = floats()
    scores = floats()
    rowBias = floats()
    context = floats()
  }

  deinit { base.deallocate() }

  /// Bytes of a pass over `tokens` tokens.
  static func byteCount(_ shape: ModelShape, tokens: Int) -> Int {
    sizes(shape, tokens: tokens).reduce(0) { $0 + rounded($1) }
  }

  /// Bytes of the parts, in their order.
  private static func sizes(_ shape: ModelShape, tokens t: Int) -> [Int] {
    let (hidden, width, r) = (shape.hiddenSize, shape.headSize, shape.estimatorRank)
    let (p, inner) = (min(t, panel), shape.intermediateSize)
    let estimatedRows = r == 0 ? 0 : shape.hasLevels ? p : min(t, attentionRows)
    let floats = [t * hidden, p * hidden, r > 0 ? t * (4 * r + 1) : 0, estimatedRows * t, p]
    let panelWords = p * words(hidden)
    let signs = [
      panelWords, panelWords, p * words(inner), t * words(hidden), t * words(width), width * words(t),
      shape.heads * keyGroupWords(shape, tokens: t), shape.heads * valueGroupWords(shape, tokens: t),
    ]
    let widest = max(hidden, inner)
    let levels = [p * widest, t * hidden, t * hidden, p * width, p * t, p, p * hidden]
    let (hasLevels, planes) = (shape.hasLevels, p * words(widest) * shape.activationBits)
    return floats.map { $0 * 4 } + [hasLevels ? 0 : bk_attention_room(t), panelWords * 8]
      + signs.map { hasLevels ? 0 : $0 * 8 } + [hasLevels ? planes * 8 : 0]
      + levels.map { hasLevels ? $0 * 4 : 0 }
  }

  /// One head's keys, and its values.
  func keys(_ shape: ModelShape, head: Int, tokens: Int) -> UnsafeMutablePointer<UInt64> {
    keyGroups + head * Self.keyGroupWords(shape, tokens: tokens)
  }
  func values(_ shape: ModelShape, head: Int, tokens: Int) -> UnsafeMutablePointer<UInt64> {
    valueGroups + head * Self.valueGroupWords(shape, tokens: tokens)
  }

  private static func keyGroupWords(_ shape: ModelShape, tokens: Int) -> Int {
    (tokens + 7) / 8 * 8 * words(shape.headSize)
  }
  private static func valueGroupWords(_ shape: ModelShape, tokens: Int) -> Int {
    (shape.headSize + 7) / 8 * 8 * words(tokens)
  }
}

/// Words of 64 bits that a row of so many takes.
private func words(_ bits: Int) -> Int { (bits + 63) / 64 }

/// Parts begin at multiples of 64 bytes.
private func rounded(_ bytes: Int) -> Int { (bytes + 63) / 64 * 64 }
