import Kernels

/// Dropout after a layer's output: its bits, kept for backward. Legend: B sequences, T tokens, H hidden.
struct OutputDropout {
  /// Its number in the network, part of the random numbers' counter.
  let place: Int
  /// (B·T)×H
  let keep: BitView
  let length: Int

  init(place: Int, sequences: Int, length: Int, width: Int, in arena: inout Arena) {
    self.place = place
    self.length = length
    keep = arena.bits(rows: sequences * length, columns: width)
  }

  /// x: (B·T)×H, in place.
  func forward(_ x: FloatView, _ pass: Pass) { forward(x, pass.tokens, pass.mode.dropout) }

  /// - Parameter dropout: nil for none.
  func forward(_ x: FloatView, _ tokens: TokenBatch, _ dropout: Dropout?) {
    guard let dropout else { return }
    parallelFor(tokens.sequences) { b, _ in
      dropout.draw(
        place: place, part: 0, epoch: tokens.epoch, sample: tokens.sampleIDs[b],
        into: keep[rows: b * length..<(b + 1) * length])
    }
    dropout.apply(keep, to: x)
  }

  /// The same factor and bits on the gradient.
  func backward(_ dx: FloatView, _ pass: BackwardPass) {
    if let dropout = pass.dropout { backward(dx, dropout) }
  }

  func backward(_ dx: FloatView, _ dropout: Dropout) { dropout.apply(keep, to: dx) }
}
