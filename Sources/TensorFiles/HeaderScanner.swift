/// Where and why a header was refused.
struct HeaderProblem: Error {
  /// Counted from the start of the header.
  let byte: Int
  let text: String
}

/// Reads the JSON of a safetensors header: one object of objects, strings and arrays of whole numbers.
///
/// Written out because the order of the tensors and duplicate names matter, and general JSON decoders keep neither.
/// - Cost: one pass over the bytes, no look-back; nesting is fixed by the grammar, so there is no recursion.
struct HeaderScanner {
  private let bytes: UnsafeRawBufferPointer
  private(set) var position = 0

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  func problem(_ text: String) -> HeaderProblem { HeaderProblem(byte: position, text: text) }

  /// `{ "key": VALUE, … }`: calls `member` with each key, placed at its value.
  mutating func object(
    _ member: (inout HeaderScanner, String) throws(HeaderProblem) -> Void
  ) throws(HeaderProblem) {
    try expect("{")
    if accept("}") { return }
    repeat {
      let key = try string()
      try expect(":")
      try member(&self, key)
    } while accept(",")
    try expect("}")
  }

  /// `[1, 2, …]` of whole numbers from 0 to 2⁶³ − 1.
  mutating func wholeNumbers() throws(HeaderProblem) -> [Int] {
    try expect("[")
    var numbers: [Int] = []
    if accept("]") { return numbers }
    repeat { numbers.append(try wholeNumber()) } while accept(",")
    try expect("]")
    return numbers
  }

  /// Only white space may follow.
  mutating func end() throws(HeaderProblem) {
    skipSpace()
    if position < bytes.count { throw problem("text after the end of the header's object") }
  }

  mutating func string() throws(HeaderProblem) -> String {
    try expect("\"")
    let start = position
    var text: [UInt8] = []
    while true {
      let byte = try next()
      switch byte {
      case UInt8(ascii: "\""):
        guard let result = String(validating: text, as: UTF8.self) else {
          throw HeaderProblem(byte: start, text: "a string that is not UTF-8")
        }
        return result
      case UInt8(ascii: "\\"): text += Array(String(try escape()).utf8)
      case 0..<32:
        position -= 1
        throw problem("a control character in a string")
      default: text.append(byte)
      }
    }
  }

  private mutating func escape() throws(HeaderProblem) -> Unicode.Scalar {
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
      let unit = try hexadecimal()
      if let scalar = Unicode.Scalar(unit) { return scalar }
      // A surrogate: the second half of the pair must follow.
      guard unit < 0xDC00, try next() == UInt8(ascii: "\\"), try next() == UInt8(ascii: "u") else {
        throw problem("half of a surrogate pair")
      }
      let low = try hexadecimal()
      guard (0xDC00..<0xE000).contains(low),
        let scalar = Unicode.Scalar(0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00))
      else { throw problem("half of a surrogate pair") }
      return scalar
    default: throw problem("an unknown escape in a string")
    }
  }

  private mutating func hexadecimal() throws(HeaderProblem) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard let digit = Character(Unicode.Scalar(try next())).hexDigitValue else {
        throw problem("four hexadecimal digits expected")
      }
      value = value << 4 | UInt32(digit)
    }
    return value
  }

  private mutating func wholeNumber() throws(HeaderProblem) -> Int {
    skipSpace()
    let start = position
    var value = 0
    while position < bytes.count, case let digit = bytes[position], (48...57).contains(digit) {
      let (tens, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = tens.addingReportingOverflow(Int(digit - 48))
      if overflow || carry { throw HeaderProblem(byte: start, text: "a number over 2^63 - 1") }
      value = sum
      position += 1
    }
    if position == start { throw problem("a whole number expected") }
    if position > start + 1, bytes[start] == 48 {
      throw HeaderProblem(byte: start, text: "a number with a leading 0")
    }
    return value
  }

  private mutating func expect(_ symbol: Unicode.Scalar) throws(HeaderProblem) {
    if !accept(symbol) {
      throw problem(position < bytes.count ? "'\(symbol)' expected" : "'\(symbol)' missing at the end")
    }
  }

  private mutating func accept(_ symbol: Unicode.Scalar) -> Bool {
    skipSpace()
    guard position < bytes.count, bytes[position] == UInt8(ascii: symbol) else { return false }
    position += 1
    return true
  }

  private mutating func next() throws(HeaderProblem) -> UInt8 {
    if position == bytes.count { throw problem("the header ends inside a string") }
    defer { position += 1 }
    return bytes[position]
  }

  private mutating func skipSpace() {
    while position < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[position]) { position += 1 }
  }
}
