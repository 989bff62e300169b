import CBitKernels

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// The instruction set whose kernels run. The fastest of this processor, unless `BIPFT_KERNELS` names another
/// (portable, avx2, avx512bw, avx512vnni, avx512, avx512bf16, neon, neondot, neoni8mm). All give the same bits.
public enum InstructionSet {
  nonisolated(unsafe) static var table: UnsafePointer<bk_kernels> = {
    if let wanted = environmentChoice, let table = bk_choose(wanted) { return table }
    return bk_choose(nil)
  }()

  /// The name of the kernels in use.
  public static var name: String { String(cString: table.pointee.name) }

  /// The names of all kernels that run on this processor, fastest first.
  public static var available: [String] {
    withUnsafeTemporaryAllocation(of: UnsafePointer<bk_kernels>?.self, capacity: Int(BK_INSTRUCTION_SETS)) {
      tables in
      tables.initialize(repeating: nil)
      let count = bk_available(tables.baseAddress)
      return (0..<count).map { String(cString: tables[$0]!.pointee.name) }
    }
  }

  /// Changes to the kernels called `name`. Not while kernels run.
  public static func select(_ name: String) throws(KernelError) {
    guard let chosen = bk_choose(name) else {
      throw .unknownInstructionSet(name: name, available: available)
    }
    table = chosen
  }

  /// Throws when `BIPFT_KERNELS` names kernels that this processor does not have.
  public static func checkEnvironment() throws(KernelError) {
    if let wanted = environmentChoice { try select(wanted) }
  }

  private static var environmentChoice: String? {
    guard let value = getenv("BIPFT_KERNELS") else { return nil }
    let name = String(cString: value)
    return name.isEmpty ? nil : name
  }
}

/// What can be wrong with the choice of kernels.
public enum KernelError: Error, CustomStringConvertible, Sendable {
  case unknownInstructionSet(name: String, available: [String])

  public var description: String {
    switch self {
    case .unknownInstructionSet(let name, let available):
      "BIPFT_KERNELS=\(name): this processor has no such kernels; use one of \(available.joined(separator: ", "))"
    }
  }
}
