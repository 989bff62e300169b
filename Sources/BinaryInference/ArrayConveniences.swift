// What takes tokens as a span takes them as an array too.
extension BinaryModel {
  /// `encode(_:segments:)` of arrays.
  public func encode(_ tokens: [Int32], segments: [Int32] = []) throws(BinaryModelError) -> Encoding {
    try encode(tokens.span, segments: segments.span)
  }

  /// `embed(_:segments:)` of arrays.
  public func embed(_ tokens: [Int32], segments: [Int32] = []) throws(BinaryModelError) -> [Float] {
    try embed(tokens.span, segments: segments.span)
  }

  /// `fillMask(_:segments:top:)` of arrays.
  public func fillMask(
    _ tokens: [Int32], segments: [Int32] = [], top: Int = 5
  ) throws(BinaryModelError) -> [MaskGuesses] {
    try fillMask(tokens.span, segments: segments.span, top: top)
  }

  /// `wordLogits(_:segments:at:)` of arrays.
  public func wordLogits(
    _ tokens: [Int32], segments: [Int32] = [], at positions: [Int]
  ) throws(BinaryModelError) -> [[Float]] {
    try wordLogits(tokens.span, segments: segments.span, at: positions)
  }

  /// `pretrainingLogits(_:segments:at:)` of arrays.
  public func pretrainingLogits(
    _ tokens: [Int32], segments: [Int32] = [], at positions: [Int]
  ) throws(BinaryModelError) -> PretrainingLogits {
    try pretrainingLogits(tokens.span, segments: segments.span, at: positions)
  }

  /// `classify(_:segments:)` of arrays.
  public func classify(
    _ tokens: [Int32], segments: [Int32] = []
  ) throws(BinaryModelError) -> ClassifierAnswer {
    try classify(tokens.span, segments: segments.span)
  }

  /// `classifierLogits(_:segments:)` of arrays.
  public func classifierLogits(
    _ tokens: [Int32], segments: [Int32] = []
  ) throws(BinaryModelError) -> [Float] {
    try classifierLogits(tokens.span, segments: segments.span)
  }
}
