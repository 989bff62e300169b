/// How gradients enter the backward products of the binary layers, whose other operand is ±1. Everything else is
/// float32.
public enum BackwardPrecision: String, CaseIterable, Sendable {
  /// As they are.
  case float32
  /// Rounded to bfloat16; sums are float32.
  case bfloat16
  /// Rounded to 8 bits, up or down at random so that the mean is kept; sums are exact.
  case int8
}
