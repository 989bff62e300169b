import Kernels

/// What a forward pass is for.
public enum ForwardMode: Sendable {
  /// Dropout, if any, and everything backward needs.
  case training(Dropout?)
  /// No dropout.
  case evaluation
  /// No dropout; every step size is set from the operand that reaches it, in network order.
  case fit(StepSizeFit)

  var dropout: Dropout? {
    if case .training(let dropout) = self { dropout } else { nil }
  }
  var fit: StepSizeFit? {
    if case .fit(let rule) = self { rule } else { nil }
  }
}

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
  func forward(_ x: FloatView, batch: Batch, dropout: Dropout?) {
    guard let dropout else { return }
    parallelFor(batch.sequences) { b, _ in
      dropout.draw(
        place: place, part: 0, epoch: batch.epoch, sample: batch.sampleIDs[b],
        into: keep[rows: b * length..<(b + 1) * length])
    }
    dropout.apply(keep, to: x)
  }

  /// The same factor and bits on the gradient.
  func backward(_ dx: FloatView, dropout: Dropout?) {
    if let dropout { dropout.apply(keep, to: dx) }
  }
}
