import Kernels

/// Chooses and changes the tokens that the masked language model predicts.
///
/// Of the n tokens that are none of the five special ones, max(1, round(0.15 n)) are chosen; each becomes [MASK] with
/// probability 0.8, a uniformly random ordinary token with 0.1, and stays with 0.1.
///
/// Source: Devlin et al. 2019, section 3.1; `create_masked_lm_predictions` of google-research/bert.
struct TokenMasking: Sendable {
  private let mask: Int32
  private let vocabularyCount: Int32
  /// Ascending.
  private let special: [Int32]

  init(_ vocabulary: Vocabulary) {
    mask = vocabulary.mask
    vocabularyCount = Int32(vocabulary.count)
    special = vocabulary.specialIDs
  }

  /// Masks tokens in place. Returns a label a token: the original where it is to be predicted, else -100.
  ///
  /// A sequence of special tokens only (text that is all [UNK]) has no label.
  func apply(to tokens: inout [Int32], stream: RandomStream) -> [Int32] {
    var stream = stream
    var labels = [Int32](repeating: -100, count: tokens.count)
    var candidates = tokens.indices.filter { !special.contains(tokens[$0]) }
    guard !candidates.isEmpty else { return labels }
    // round(0.15 n), half up, in integers.
    let count = max(1, (15 * candidates.count + 50) / 100)
    for index in 0..<count {
      candidates.swapAt(index, index + Int(stream.next(below: UInt32(candidates.count - index))))
      let position = candidates[index]
      labels[position] = tokens[position]
      switch stream.next(below: 10) {
      case 0..<8: tokens[position] = mask
      case 8: tokens[position] = ordinaryToken(&stream)
      default: break
      }
    }
    return labels
  }

  /// Uniform over the ids that are not special: a number below their count, moved past each special id at or below it.
  private func ordinaryToken(_ stream: inout RandomStream) -> Int32 {
    guard vocabularyCount > special.count else { return mask }
    var token = Int32(stream.next(below: UInt32(vocabularyCount) - UInt32(special.count)))
    for id in special where token >= id { token += 1 }
    return token
  }
}
