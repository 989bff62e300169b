import CBitKernels

/// What a model takes a masked word for.
public struct WordGuess: Equatable, Sendable {
  public let token: Int32
  /// As the vocabulary has it.
  public let text: String
  public let logit: Float
  public let probability: Float
}

/// The guesses for one masked position.
public struct MaskGuesses: Equatable, Sendable {
  public let position: Int
  /// The likeliest first; of equal ones the smaller token.
  public let guesses: [WordGuess]
}

// Legend: M positions, H hidden, V vocabulary.
extension BinaryModel {
  /// Positions whose logits are held at once, and rows of the word embedding that are float32 at once.
  private static let block = 16
  private static let panel = 64

  /// Bytes that logits take beside the encoder's work space.
  public var wordHeadBytes: Int {
    4 * (Self.block * (2 * shape.hiddenSize + shape.vocabularySize) + Self.panel * shape.hiddenSize)
  }

  /// The likeliest words at each [MASK] of a sequence, in their order.
  ///
  /// - Parameters:
  ///   - tokens: ids, [CLS] and [SEP] included.
  ///   - segments: 0 or 1 for each token; none for all 0.
  ///   - top: how many words for each.
  /// - Throws: `noHead`, and as `encode`.
  /// - Cost: the encoder's, and 2·M·V·H float operations.
  public func fillMask(
    _ tokens: Span<Int32>, segments: Span<Int32> = Span(), top: Int = 5
  ) throws(BinaryModelError) -> [MaskGuesses] {
    let positions = tokens.indices.filter { tokens[$0] == vocabulary.mask }
    var answers: [MaskGuesses] = []
    try eachLogits(tokens, segments, positions) { position, logits in
      let best = Self.largest(top, of: logits)
      let values = best.map { logits[$0] }
      // The logits become probabilities in place.
      network.kernels.pointee.softmax(logits.baseAddress!, nil, 1, logits.count, logits.count, 1)
      let guesses = zip(best, values).map { index, logit in
        WordGuess(
          token: Int32(index), text: vocabulary.token(Int32(index)), logit: logit, probability: logits[index])
      }
      answers.append(MaskGuesses(position: position, guesses: guesses))
    }
    return answers
  }

  /// The logits of all words at some positions of a sequence.
  ///
  /// - Throws: `noHead`, `positionOutOfRange`, and as `encode`.
  public func wordLogits(
    _ tokens: Span<Int32>, segments: Span<Int32> = Span(), at positions: [Int]
  ) throws(BinaryModelError) -> [[Float]] {
    var all: [[Float]] = []
    try eachLogits(tokens, segments, positions) { _, logits in all.append(Array(logits)) }
    return all
  }

  /// What the heads of pretraining say of one sequence.
  public struct PretrainingLogits: Equatable, Sendable {
    /// Of all words, at each of the positions.
    public let words: [[Float]]
    /// Two: that the second text follows the first, and that it does not; nil of a model that was not asked that in training.
    public let nextSentence: [Float]?
  }

  /// The logits of all words at some positions, and those of next-sentence prediction, of one pass.
  ///
  /// - Throws: `noHead`, `positionOutOfRange`, and as `encode`.
  public func pretrainingLogits(
    _ tokens: Span<Int32>, segments: Span<Int32> = Span(), at positions: [Int]
  ) throws(BinaryModelError) -> PretrainingLogits {
    var (all, nextSentence): ([[Float]], [Float]?) = ([], nil)
    let first = network.nextSentence.map { head in
      { (space: borrowing WorkSpace) in nextSentence = head.logits(network) { network.pool(space, into: $0) }
      }
    }
    try eachLogits(tokens, segments, positions, first: first) { _, logits in all.append(Array(logits)) }
    return PretrainingLogits(words: all, nextSentence: nextSentence)
  }

  /// Calls `body` with each position and its logits, which it may change.
  ///
  /// - Parameter first: called before with the state, whose first row is then that of the first token; nil asks for no such row.
  private func eachLogits(
    _ tokens: Span<Int32>, _ segments: Span<Int32>, _ positions: [Int],
    first: ((borrowing WorkSpace) -> Void)? = nil,
    _ body: (Int, UnsafeMutableBufferPointer<Float>) -> Void
  ) throws(BinaryModelError) {
    guard let head = network.wordHead else { throw .noHead(wanted: .words) }
    try check(tokens, segments)
    for position in positions where position < 0 || position >= tokens.count {
      throw .positionOutOfRange(position, tokens: tokens.count)
    }
    if positions.isEmpty, first == nil { return }
    let space = WorkSpace(shape, tokens: tokens.count)
    withExtendedLifetime(memory) {
      // The last layer computes these alone.
      let wanted = Set(first == nil ? positions : positions + [0]).sorted()
      let rows = Dictionary(uniqueKeysWithValues: zip(wanted, wanted.indices))
      network.run(tokens, segments: segments, wanted: wanted, space)
      first?(space)
      let count = wordHeadBytes / 4
      withUnsafeTemporaryAllocation(of: Float.self, capacity: count) { room in
        for start in stride(from: 0, to: positions.count, by: Self.block) {
          let own = positions[start..<min(positions.count, start + Self.block)]
          let logits = computeLogits(head, own.map { rows[$0]! }, space, room: room.baseAddress!)
          for (row, position) in own.enumerated() {
            body(
              position,
              UnsafeMutableBufferPointer(
                start: logits + row * shape.vocabularySize, count: shape.vocabularySize))
          }
        }
      }
    }
  }

  /// M×V logits of some rows of the state, in `room`.
  private func computeLogits(
    _ head: WordHead, _ stateRows: [Int], _ space: borrowing WorkSpace,
    room: UnsafeMutablePointer<Float>
  ) -> UnsafeMutablePointer<Float> {
    let (table, rows) = (network.kernels.pointee, stateRows.count)
    let (hidden, words) = (shape.hiddenSize, shape.vocabularySize)
    let gathered = room
    let transformed = gathered + Self.block * hidden
    let panel = transformed + Self.block * hidden
    let logits = panel + Self.panel * hidden
    for (row, stateRow) in stateRows.enumerated() {
      (gathered + row * hidden).update(from: space.state + stateRow * hidden, count: hidden)
    }
    table.linear(
      gathered, rows, hidden, hidden, head.transform, hidden, head.transformBias, transformed, hidden)
    table.relu(rows * hidden, transformed)
    // The gathered rows are no longer needed; their memory takes the deviations.
    table.normalise(
      transformed, rows, hidden, 1e-12, head.normalisation.weight, head.normalisation.bias, transformed,
      gathered, transformed)
    for first in stride(from: 0, to: words, by: Self.panel) {
      let count = min(Self.panel, words - first)
      let weight = head.words.floats(first, count: count, network.kernels, room: panel)
      table.linear(
        transformed, rows, hidden, hidden, weight, count, head.bias + first, logits + first, words)
    }
    return logits
  }

  /// The indices of the `count` largest values, the largest first; of equal ones the first. What is no number never is.
  static func largest(_ count: Int, of values: UnsafeMutableBufferPointer<Float>) -> [Int] {
    var best: [Int] = []
    for (index, value) in values.enumerated() where !value.isNaN {
      if best.count == count {
        guard let last = best.last, value > values[last] else { continue }
        best.removeLast()
      }
      let place = best.firstIndex { value > values[$0] } ?? best.count
      best.insert(index, at: place)
    }
    return best
  }
}
