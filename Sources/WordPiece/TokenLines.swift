/// The tokens of a vocabulary as the bytes of its file: UTF-8, a token a line.
public struct TokenLines: Sendable {
  public let bytes: [UInt8]
  /// Where each line begins, and where the last one ends; one more than there are tokens. The last byte of a line is its end.
  public let starts: [Int32]

  public init(_ bytes: [UInt8], starts: [Int32]) {
    precondition(
      starts.last.map(Int.init) == bytes.count, "lines to byte \(starts.last ?? 0) of \(bytes.count)")
    (self.bytes, self.starts) = (bytes, starts)
  }

  /// Tokens of any bytes, line feeds too.
  public init(_ tokens: [String]) {
    var (bytes, starts) = ([UInt8](), [Int32(0)])
    starts.reserveCapacity(tokens.count + 1)
    for token in tokens {
      bytes.append(contentsOf: token.utf8)
      bytes.append(UInt8(ascii: "\n"))
      starts.append(Int32(bytes.count))
    }
    self.init(bytes, starts: starts)
  }

  /// Number of tokens.
  public var count: Int { starts.count - 1 }

  /// A token without its line's end.
  public subscript(id: Int) -> ArraySlice<UInt8> { bytes[Int(starts[id])..<Int(starts[id + 1]) - 1] }
}
