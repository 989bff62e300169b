/// How numbers of gradients travel between ranks.
///
/// `bfloat16` halves the bytes. All additions are made in float32, but the value of every node of the lane tree below the
/// root, each lane's own gradient included, is rounded to bfloat16 (to nearest, ties to even), whether it travels or not.
/// What a rank sends is the value of a node, so the sum has the same bits for every number of ranks. The cost: up to
/// log₂ V roundings of 2⁻⁹ relative error on an element's way to the root, where rounding only what travels would have one
/// or two; those would depend on the number of ranks.
public enum WireFormat: String, CaseIterable, Sendable {
  case float32
  case bfloat16

  /// Bytes of a number.
  public var width: Int { self == .float32 ? 4 : 2 }
}
