/// What computes a run: kernels, which all give the same bits.
public struct Arithmetic: Codable, Equatable, Sendable {
  /// The kernels of rank 0 (`InstructionSet.name`).
  public var kernels: String
  /// In runs of earlier releases, whose steps used it: OpenBLAS with its version and the kind of core it chose.
  public var openblas: String?

  public init(kernels: String, openblas: String? = nil) {
    self.kernels = kernels
    self.openblas = openblas
  }

  /// A line for the user where a run that `self` computed up to a checkpoint goes on with `current`; nil if they are the same.
  public func warning(goingOnWith current: Arithmetic) -> String? {
    if self == current { return nil }
    if let openblas, current.openblas == nil {
      return
        "the run was computed with \(openblas) so far, and goes on without it: sums of float32 products differ in their "
        + "last bits, so it comes to other weights, as good ones, than without the change"
    }
    return
      "the run was computed with \(kernels) kernels so far, and goes on with \(current.kernels); these kernels give the "
      + "same bits"
  }
}
