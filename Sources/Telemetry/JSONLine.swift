/// Reads a flat JSON object (no arrays, objects or booleans inside) and leaves numbers as their text, so that each is
/// rounded once, to the type that it came from.
struct JSONLine {
  enum Value: Equatable {
    case number(String)
    case text(String)
    case null
  }

  struct Field {
    let key: String
    let value: Value
  }

  /// The fields of the object in their order.
  static func fields(of line: some StringProtocol) throws(RecordFault) -> [Field] {
    var reader = JSONLine(line)
    return try reader.object()
  }

  private let scalars: [Unicode.Scalar]
  private var position = 0

  private init(_ line: some StringProtocol) { scalars = Array(line.unicodeScalars) }

  private var next: Unicode.Scalar? { position < scalars.count ? scalars[position] : nil }

  private mutating func skipSpace() {
    while next == " " || next == "\t" || next == "\r" { position += 1 }
  }

  private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
    skipSpace()
    guard next == scalar else { return false }
    position += 1
    return true
  }

  private mutating func expect(_ scalar: Unicode.Scalar) throws(RecordFault) {
    guard take(scalar) else { throw RecordFault(reason: "no \(scalar) at column \(position + 1)") }
  }

  private mutating func object() throws(RecordFault) -> [Field] {
    var fields: [Field] = []
    try expect("{")
    if !take("}") {
      repeat {
        try expect("\"")
        let key = try string()
        guard !fields.contains(where: { $0.key == key }) else {
          throw RecordFault(reason: "\(key) stands twice")
        }
        try expect(":")
        fields.append(Field(key: key, value: try value()))
      } while take(",")
      try expect("}")
    }
    skipSpace()
    guard next == nil else { throw RecordFault(reason: "more than one object") }
    return fields
  }

  private mutating func value() throws(RecordFault) -> Value {
    if take("\"") { return .text(try string()) }
    let start = position
    while let scalar = next, scalar.isASCII,
      scalar.properties.isAlphabetic || "+-.0123456789".unicodeScalars.contains(scalar)
    {
      position += 1
    }
    var word = String.UnicodeScalarView()
    word.append(contentsOf: scalars[start..<position])
    let text = String(word)
    if text == "null" { return .null }
    guard let first = text.first, first == "-" || first.isNumber, Double(text) != nil else {
      throw RecordFault(reason: "no value at column \(start + 1)")
    }
    return .number(text)
  }

  /// The rest of a string whose opening quote was taken.
  private mutating func string() throws(RecordFault) -> String {
    var result = String.UnicodeScalarView()
    while let scalar = next {
      position += 1
      if scalar == "\"" { return String(result) }
      guard scalar == "\\" else {
        result.append(scalar)
        continue
      }
      guard let escape = next else { break }
      position += 1
      switch escape {
      case "\"", "\\", "/": result.append(escape)
      case "n": result.append("\n")
      case "t": result.append("\t")
      case "r": result.append("\r")
      case "u": result.append(try unicodeEscape())
      default: throw RecordFault(reason: "unknown escape at column \(position)")
      }
    }
    throw RecordFault(reason: "a string does not end")
  }

  /// Four hexadecimal digits; halves of surrogate pairs are refused, since `JSONText` writes none.
  private mutating func unicodeEscape() throws(RecordFault) -> Unicode.Scalar {
    var code: UInt32 = 0
    for _ in 0..<4 {
      guard let digit = next.flatMap({ Character($0).hexDigitValue }) else {
        throw RecordFault(reason: "bad escape at column \(position + 1)")
      }
      code = code * 16 + UInt32(digit)
      position += 1
    }
    guard let scalar = Unicode.Scalar(code) else {
      throw RecordFault(reason: "bad escape at column \(position)")
    }
    return scalar
  }
}
