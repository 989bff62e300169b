/// Where `PretrainingModel.train` has come to, told while it runs.
public enum LaneMoment: Sendable {
  /// The forward pass begins: up to the last hidden state.
  case forward
  /// The losses and the backward pass begin.
  case backward
  /// The gradients of the elements from this one on are complete, of this micro-batch. Told with ever smaller numbers, 0 at
  /// the end: the flat vector becomes complete from its end to its beginning, since the layers come one after the other
  /// in it, and the word embedding, which the decoder shares, first.
  case complete(from: Int)
}
