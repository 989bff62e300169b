import Kernels
import Parameters

/// Where the embeddings' tensors lie in the flat buffers. Legend: V vocabulary, H hidden.
struct EmbeddingPlaces: Sendable {
  /// Names of the three tables.
  let wordName: String
  let positionName: String
  let typeName: String
  let words: Range<Int>  // V×H
  let positions: Range<Int>  // maximum length × H
  let types: Range<Int>  // 2×H
  let normalisation: NormalisationPlaces
  /// Whether the words' rows are used as signs.
  let hasBinaryWords: Bool

  /// Adds the tensors of the embeddings, whose names begin with `prefix`, to a layout.
  init(_ prefix: String, _ c: ModelConfiguration, in layout: inout LayoutBuilder) {
    let names = ["word", "position", "token_type"].map { prefix + $0 + "_embeddings.weight" }
    (wordName, positionName, typeName) = (names[0], names[1], names[2])
    hasBinaryWords = c.precision.hasBinaryWeights
    words =
      layout.add(
        wordName, [c.vocabularySize, c.hiddenSize], hasBinaryWords ? .binaryTable : .real, initial: .normal
      ).range
    positions = layout.add(positionName, [c.maximumLength, c.hiddenSize], initial: .normal).range
    types = layout.add(typeName, [2, c.hiddenSize], initial: .normal).range
    normalisation = NormalisationPlaces(prefix + "LayerNorm", width: c.hiddenSize, in: &layout)
  }
}

/// Word + position + type embeddings, layer normalisation, dropout (METHOD, "The network").
///
/// Legend: B sequences, T tokens, N = B·T, H hidden. A binary word's row is m·sign(w − mean), m = mean|w| of that row, the
/// mean over the whole table.
struct Embeddings {
  let places: EmbeddingPlaces
  let normalisation: LayerNormalisation
  let dropout: OutputDropout
  let length: Int
  let hidden: Int
  /// N: the number of the first token of the same word.
  private let firsts: UnsafeMutablePointer<Int>
  /// V: the number of the first token of a word that is there.
  private let tokenOfWord: UnsafeMutablePointer<Int>

  init(_ places: EmbeddingPlaces, sequences: Int, length: Int, hidden: Int, in arena: inout Arena) {
    self.places = places
    self.length = length
    self.hidden = hidden
    firsts = arena.elements(sequences * length, of: Int.self)
    tokenOfWord = arena.elements(places.words.count / hidden, of: Int.self)
    normalisation = LayerNormalisation(places.normalisation, rows: sequences * length, in: &arena)
    dropout = OutputDropout(place: 0, sequences: sequences, length: length, width: hidden, in: &arena)
  }

  /// Writes x: N×H.
  func forward(_ pass: Pass, into x: FloatView) {
    let (batch, parameters, mean) = (pass.tokens, pass.parameters, pass.tableMean)
    let words = parameters[places.words]
    let positions = parameters[places.positions]
    let types = parameters[places.types]
    parallelPanels(batch.sequences * length, 64) { range, _ in
      for token in range {
        let out = x.base + token * hidden
        let word = words[row(Int(batch.inputIDs[token]))]
        let position = positions[row(token % length)]
        let type = types[row(Int(batch.tokenTypeIDs[token]))]
        if places.hasBinaryWords {
          let magnitude = Float(word.sumOfAbsolutes() / Double(hidden))
          for j in 0..<hidden {
            let binary = word.base[j] - mean >= 0 ? magnitude : -magnitude
            out[j] = binary + position.base[j] + type.base[j]
          }
        } else {
          for j in 0..<hidden { out[j] = word.base[j] + position.base[j] + type.base[j] }
        }
      }
    }
    normalisation.forward(
      MatrixView(x, rows: batch.sequences * length, columns: hidden), parameters: parameters, into: x)
    dropout.forward(x, pass)
  }

  /// d: N×H, the gradient to x, is used up; gradients are added to the rows used (identity through the binarisation).
  func backward(_ d: FloatView, _ pass: BackwardPass) {
    let (batch, gradients) = (pass.forward.tokens, pass.gradients)
    dropout.backward(d, pass)
    normalisation.backward(
      MatrixView(d, rows: batch.sequences * length, columns: hidden), parameters: pass.parameters,
      gradients: gradients, into: d)
    let positions = gradients[places.positions]
    let types = gradients[places.types]
    let tokens = 0..<batch.sequences * length
    findFirsts(batch.inputIDs, count: tokens.count)
    pass.sinks.words?.beginPart(of: places.words)
    // Rows may repeat, so threads share columns out, each adding the tokens in their order.
    parallelPanels(hidden, 64) { columns, _ in
      func part(_ table: FloatView, _ row: Int) -> FloatView {
        table[row * hidden + columns.lowerBound..<row * hidden + columns.upperBound]
      }
      for token in tokens {
        part(positions, token % length).addSerial(part(d, token))
        part(types, Int(batch.tokenTypeIDs[token])).addSerial(part(d, token))
      }
      // A word's gradient gathers where the word is first.
      for token in tokens where firsts[token] != token {
        part(d, firsts[token]).addSerial(part(d, token))
      }
      for token in tokens where firsts[token] == token {
        let (word, values) = (Int(batch.inputIDs[token]), part(d, token))
        if let sink = pass.sinks.words {
          let start = places.words.lowerBound + word * hidden + columns.lowerBound
          sink.add(
            values.base, valueStride: columns.count, rows: 1, columns: columns.count, at: start,
            stride: columns.count)
        } else {
          part(gradients[places.words], word).addSerial(values)
        }
      }
    }
    pass.sinks.words?.note()
  }

  /// Writes for each of the first `count` of `ids` the number of the first that is the same.
  private func findFirsts(_ ids: [Int32], count: Int) {
    // Downwards, so that the first of a word stays.
    for token in (0..<count).reversed() { tokenOfWord[Int(ids[token])] = token }
    for token in 0..<count { firsts[token] = tokenOfWord[Int(ids[token])] }
  }

  private func row(_ index: Int) -> Range<Int> { index * hidden..<(index + 1) * hidden }
}
