import Kernels

extension Model {
  /// A digest of all that this rank computes with: signs and scales of the binary matrices, and the real-valued
  /// parameters. Equal on all ranks as long as nothing went wrong.
  ///
  /// - Cost: one pass over them, about 8 GB/s.
  public func replicaDigest(_ parameters: FloatView) -> UInt64 {
    var digest = WordDigest()
    weights.add(to: &digest)
    for parameter in layout.parameters.parameters where parameter.kind != .binaryMatrix {
      digest.add(UnsafeRawBufferPointer(parameters[parameter.range].bytes))
    }
    return digest.value
  }
}

extension PackedWeights {
  func add(to digest: inout WordDigest) {
    for matrix in matrices.map(\.signs) {
      digest.add(UnsafeRawBufferPointer(start: matrix.base, count: matrix.rows * matrix.words * 8))
    }
    for matrix in matrices.map(\.interleaved) {
      // As many words as the plain matrix has, of those that the products read.
      digest.add(UnsafeRawBufferPointer(start: matrix.base, count: matrix.rows * matrix.words * 8))
    }
    matrices.map(\.scale).withUnsafeBytes { digest.add($0) }
    withUnsafeBytes(of: tableMean) { digest.add($0) }
  }
}

/// A 64-bit digest that finds accidents, not malice: words are multiplied and mixed in one after the other.
struct WordDigest {
  private(set) var value: UInt64 = 0x9E37_79B9_7F4A_7C15

  mutating func add(_ bytes: UnsafeRawBufferPointer) {
    var value = value
    let words = bytes.count / 8
    for word in 0..<words {
      value = Self.mix(value, bytes.loadUnaligned(fromByteOffset: word * 8, as: UInt64.self))
    }
    var rest: UInt64 = 0
    for byte in bytes.dropFirst(words * 8) { rest = rest << 8 | UInt64(byte) }
    self.value = Self.mix(value, rest ^ UInt64(bytes.count))
  }

  private static func mix(_ value: UInt64, _ word: UInt64) -> UInt64 {
    // An odd multiplier and a rotation: each step is a bijection of `value`, so a single wrong word always shows.
    let product = (value ^ word) &* 0xFF51_AFD7_ED55_8CCD
    return product << 29 | product >> 35
  }
}
