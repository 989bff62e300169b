/// What computes a run: its bits depend on the core that OpenBLAS has kernels for, and only on that as long as the rest of the
/// run stays the same; the instruction set of our own kernels is kept to be told, all of them give the same bits.
public struct Arithmetic: Codable, Equatable, Sendable {
  /// The kernels in use (`InstructionSet.name`).
  public var kernels: String
  /// OpenBLAS with its version and the kind of core it chose.
  public var openblas: String

  public init(kernels: String, openblas: String) {
    self.kernels = kernels
    self.openblas = openblas
  }

  /// A line for the user where a run that `self` computed up to a checkpoint goes on with `current`; nil if they are the same.
  public func warning(goingOnWith current: Arithmetic) -> String? {
    if self == current { return nil }
    let change =
      "the run was computed with \(kernels) kernels and \(openblas) so far, and goes on with \(current.kernels) and "
      + current.openblas
    if openblas == current.openblas { return "\(change); these kernels give the same bits" }
    let core = openblas.split(separator: " ").last.map(String.init) ?? ""
    return
      "\(change): sums of float32 products differ in their last bits, so it comes to other weights, as good ones, than "
      + "without the change; for the same bits go on with the same version of OpenBLAS on processors of that kind, or with "
      + "OPENBLAS_CORETYPE=\(core) where they can run its kernels"
  }
}
