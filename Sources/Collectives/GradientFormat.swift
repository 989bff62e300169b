/// The integers in which the gradients of lanes are added, and in which they travel between ranks.
public enum GradientFormat: String, CaseIterable, Sendable {
  /// 32 bits, with a power of two for each 65,536 elements of a tensor.
  case int32
  /// 16 bits, with a power of two for each 1,024 elements of a binary matrix, and for each 65,536 of anything else: half the
  /// bytes.
  case int16

  /// Bytes of an integer.
  public var width: Int { self == .int32 ? 4 : 2 }

  /// Elements of a matrix that share a power of two, at most. (What is no matrix has `SlicePartition.chunkSize`: in a table of
  /// words a few rows by themselves have now a large gradient and now none, and most steps would have to be done again.)
  public var matrixBlockSize: Int { self == .int32 ? SlicePartition.chunkSize : 1024 }

  /// Whether the gradients of matrices are rounded for each slice of a micro-batch, so that no float32 vector of them is needed; 16
  /// bits are too few for so many roundings.
  public var takesMatricesBySlice: Bool { self == .int32 }

  /// The most lanes of a step: each adds 1 or more to what bounds the sum, which leaves headroom of two bits.
  public var largestLaneCount: Int { self == .int32 ? 1 << 29 : 1 << 13 }
}
