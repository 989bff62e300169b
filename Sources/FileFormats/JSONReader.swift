/// Where and why text is not the JSON that was wanted.
public struct JSONProblem: Error, Equatable, Sendable {
  /// Counted from the start of the text, from 0.
  public let byte: Int
  public let text: String

  public init(byte: Int, text: String) {
    self.byte = byte
    self.text = text
  }
}

/// Reads JSON (RFC 8259) strictly, value by value, as the caller asks for them.
///
/// Beside a decoder it keeps the order of members and shows names that come twice, leaves numbers as their text, so that each
/// is rounded once, to the type that it came from, and says at which byte the text goes wrong.
/// - Cost: one pass over the bytes, no look-back; recursion only as deep as `depthLimit`.
public struct JSONReader {
  /// Arrays and objects within each other that `skip` follows.
  public static let depthLimit = 512

  /// A value that is no array and no object.
  public enum Scalar: Equatable, Sendable {
    case number(String)
    case text(String)
    case bool(Bool)
    case null
  }

  private let bytes: UnsafeRawBufferPointer
  public private(set) var position = 0

  /// - Parameter bytes: valid for as long as the reader is used.
  public init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  /// Reads one value from all of `bytes` with `body`; only white space may follow it.
  public static func read<Result>(
    _ bytes: UnsafeRawBufferPointer, _ body: (inout JSONReader) throws(JSONProblem) -> Result
  ) throws(JSONProblem) -> Result {
    var reader = JSONReader(bytes)
    let result = try body(&reader)
    try reader.end()
    return result
  }

  public static func read<Result>(
    _ bytes: [UInt8], _ body: (inout JSONReader) throws(JSONProblem) -> Result
  ) throws(JSONProblem) -> Result {
    try bytes.span.bytes.withUnsafeBytes { bytes throws(JSONProblem) in try read(bytes, body) }
  }

  public func problem(_ text: String) -> JSONProblem { JSONProblem(byte: position, text: text) }

  // MARK: - Values

  /// `{ "name": VALUE, … }`: calls `member` with each name, placed at its value.
  public mutating func object(
    _ member: (inout JSONReader, String) throws(JSONProblem) -> Void
  ) throws(JSONProblem) {
    try expect("{")
    if accept("}") { return }
    repeat {
      let name = try string()
      try expect(":")
      try member(&self, name)
    } while accept(",")
    try expect("}")
  }

  /// `[VALUE, …]`: calls `element` placed at each value.
  public mutating func array(
    _ element: (inout JSONReader) throws(JSONProblem) -> Void
  ) throws(JSONProblem) {
    try expect("[")
    if accept("]") { return }
    repeat { try element(&self) } while accept(",")
    try expect("]")
  }

  /// `[1, 2, …]` of whole numbers from 0 to 2⁶³ − 1.
  public mutating func wholeNumbers() throws(JSONProblem) -> [Int] {
    var numbers: [Int] = []
    try array { reader throws(JSONProblem) in numbers.append(try reader.wholeNumber()) }
    return numbers
  }

  /// A string, number, true, false or null.
  public mutating func scalar() throws(JSONProblem) -> Scalar {
    skipSpace()
    switch position < bytes.count ? bytes[position] : 0 {
    case UInt8(ascii: "\""): return .text(try string())
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number(try number())
    case UInt8(ascii: "t") where accept(word: "true"): return .bool(true)
    case UInt8(ascii: "f") where accept(word: "false"): return .bool(false)
    case UInt8(ascii: "n") where accept(word: "null"): return .null
    default: throw problem("a value expected")
    }
  }

  /// Whether `null` stands here, which is then read.
  public mutating func acceptsNull() -> Bool {
    skipSpace()
    return accept(word: "null")
  }

  /// Any value, checked and left out.
  public mutating func skip() throws(JSONProblem) { try skip(depth: 0) }

  private mutating func skip(depth: Int) throws(JSONProblem) {
    skipSpace()
    if depth > Self.depthLimit { throw problem("more than \(Self.depthLimit) values within each other") }
    switch position < bytes.count ? bytes[position] : 0 {
    case UInt8(ascii: "{"):
      try object { reader, _ throws(JSONProblem) in try reader.skip(depth: depth + 1) }
    case UInt8(ascii: "["): try array { reader throws(JSONProblem) in try reader.skip(depth: depth + 1) }
    default: _ = try scalar()
    }
  }

  /// Only white space may follow.
  public mutating func end() throws(JSONProblem) {
    skipSpace()
    if position < bytes.count { throw problem("text after the end of the value") }
  }

  public mutating func string() throws(JSONProblem) -> String {
    try expect("\"")
    let start = position
    var text: [UInt8] = []
    while true {
      // Bytes that stand for themselves, at once.
      let run = position
      while position < bytes.count, case let byte = bytes[position],
        byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 32
      { position += 1 }
      text.append(contentsOf: bytes[run..<position])
      if position == bytes.count { throw problem("the text ends inside a string") }
      switch bytes[position] {
      case UInt8(ascii: "\""):
        position += 1
        guard let result = String(validating: text, as: UTF8.self) else {
          throw JSONProblem(byte: start, text: "a string that is not UTF-8")
        }
        return result
      case UInt8(ascii: "\\"):
        position += 1
        text.append(contentsOf: String(try escape()).utf8)
      default: throw problem("a control character in a string")
      }
    }
  }

  private mutating func escape() throws(JSONProblem) -> Unicode.Scalar {
    switch try next() {
    case UInt8(ascii: "\""): return "\""
    case UInt8(ascii: "\\"): return "\\"
    case UInt8(ascii: "/"): return "/"
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{c}"
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "u"):
      let unit = try hexadecimalUnit()
      if let scalar = Unicode.Scalar(unit) { return scalar }
      // A surrogate: the second half of the pair must follow.
      guard unit < 0xDC00, try next() == UInt8(ascii: "\\"), try next() == UInt8(ascii: "u") else {
        throw problem("half of a surrogate pair")
      }
      let low = try hexadecimalUnit()
      guard (0xDC00..<0xE000).contains(low),
        let scalar = Unicode.Scalar(0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00))
      else { throw problem("half of a surrogate pair") }
      return scalar
    default: throw problem("an unknown escape in a string")
    }
  }

  private mutating func hexadecimalUnit() throws(JSONProblem) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      let byte = try next()
      guard byte < 0x80, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
        throw problem("four hexadecimal digits expected")
      }
      value = value << 4 | UInt32(digit)
    }
    return value
  }

  /// A number as its text.
  public mutating func number() throws(JSONProblem) -> String {
    skipSpace()
    let start = position
    _ = take(UInt8(ascii: "-"))
    let first = position
    if digits() == 0 { throw JSONProblem(byte: start, text: "a number expected") }
    if position > first + 1, bytes[first] == UInt8(ascii: "0") {
      throw JSONProblem(byte: start, text: "a number with a leading 0")
    }
    if take(UInt8(ascii: ".")), digits() == 0 { throw problem("digits expected after the point") }
    if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
      if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
      if digits() == 0 { throw problem("digits expected in the exponent") }
    }
    return String(decoding: bytes[start..<position], as: UTF8.self)
  }

  /// A whole number from 0 to 2⁶³ − 1.
  public mutating func wholeNumber() throws(JSONProblem) -> Int {
    skipSpace()
    let start = position
    if digits() == 0 { throw problem("a whole number expected") }
    if position > start + 1, bytes[start] == UInt8(ascii: "0") {
      throw JSONProblem(byte: start, text: "a number with a leading 0")
    }
    guard let value = Int(String(decoding: bytes[start..<position], as: UTF8.self)) else {
      throw JSONProblem(byte: start, text: "a number over 2^63 - 1")
    }
    return value
  }

  // MARK: - Bytes

  private mutating func digits() -> Int {
    let start = position
    while position < bytes.count, (48...57).contains(bytes[position]) { position += 1 }
    return position - start
  }

  private mutating func take(_ byte: UInt8) -> Bool {
    guard position < bytes.count, bytes[position] == byte else { return false }
    position += 1
    return true
  }

  private mutating func accept(word: StaticString) -> Bool {
    let end = position + word.utf8CodeUnitCount
    guard end <= bytes.count,
      word.withUTF8Buffer({ $0.elementsEqual(bytes[position..<end]) })
    else { return false }
    position = end
    return true
  }

  private mutating func expect(_ symbol: Unicode.Scalar) throws(JSONProblem) {
    if !accept(symbol) {
      throw problem(position < bytes.count ? "'\(symbol)' expected" : "'\(symbol)' missing at the end")
    }
  }

  private mutating func accept(_ symbol: Unicode.Scalar) -> Bool {
    skipSpace()
    return take(UInt8(ascii: symbol))
  }

  private mutating func next() throws(JSONProblem) -> UInt8 {
    if position == bytes.count { throw problem("the text ends inside a string") }
    defer { position += 1 }
    return bytes[position]
  }

  private mutating func skipSpace() {
    while position < bytes.count, case let byte = bytes[position],
      byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D
    { position += 1 }
  }
}
