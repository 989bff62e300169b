/// Who keeps the state of the optimizer. Both give the same bits.
public enum Synchronisation: String, CaseIterable, Sendable {
  /// Each rank keeps the latent weights and moments of its slice; after an update the ranks exchange signs, and float32
  /// only of what is used as it is.
  case sharded
  /// Every rank keeps and updates everything; the ranks exchange gradients. For comparison.
  case replicated
}
