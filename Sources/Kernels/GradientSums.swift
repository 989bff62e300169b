import CBitKernels

// Sums of gradients, and their bfloat16 form on the way between ranks; all on the calling thread alone.

/// result[i] = left[i] + right[i] for i in 0 ..< count, then rounded to bfloat16 (to nearest, ties to even; what is not
/// finite stays so) if `rounds`. `result` may be `left` or `right`.
public func addVectors(
  _ left: UnsafePointer<Float>, _ right: UnsafePointer<Float>, count: Int, rounds: Bool,
  into result: UnsafeMutablePointer<Float>
) {
  InstructionSet.table.pointee.add_vectors(left, right, count, rounds, result)
}

/// Rounds `count` elements to bfloat16, in place.
public func roundVector(_ values: UnsafeMutablePointer<Float>, count: Int) {
  InstructionSet.table.pointee.round_vector(values, count)
}

/// The upper halves of `count` elements that are bfloat16 already.
public func narrowVector(
  _ values: UnsafePointer<Float>, count: Int, into halves: UnsafeMutablePointer<UInt16>
) {
  InstructionSet.table.pointee.narrow_vector(values, count, halves)
}

/// The reverse of `narrowVector`.
public func widenVector(
  _ halves: UnsafePointer<UInt16>, count: Int, into values: UnsafeMutablePointer<Float>
) {
  InstructionSet.table.pointee.widen_vector(halves, count, values)
}
