/// Numbers and strings as JSON text.
///
/// A number is the shortest decimal that reads back to the same bits. JSON has no text for the values that are
/// not finite: they become the strings `"NaN"`, `"Infinity"` and `"-Infinity"` (a NaN loses its payload).
public enum JSONText {
  public static func number(_ value: Float) -> String {
    value.isFinite ? value.description : nonFinite(isNaN: value.isNaN, isNegative: value < 0)
  }

  public static func number(_ value: Double) -> String {
    value.isFinite ? value.description : nonFinite(isNaN: value.isNaN, isNegative: value < 0)
  }

  /// `text` in double quotes, with the escapes of JSON (which YAML shares).
  public static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\t": result += "\\t"
      case "\r": result += "\\r"
      case _ where scalar.value < 0x20 || scalar.value == 0x7F:
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }

  /// One object on one line, its members in the order given: names and their values as JSON.
  public static func object(_ members: [(name: String, value: String)]) -> String {
    "{" + members.map { "\(quoted($0.name)): \($0.value)" }.joined(separator: ", ") + "}"
  }

  /// An array on one line of values that are JSON.
  public static func array(_ values: [String]) -> String { "[" + values.joined(separator: ", ") + "]" }

  private static func nonFinite(isNaN: Bool, isNegative: Bool) -> String {
    isNaN ? "\"NaN\"" : isNegative ? "\"-Infinity\"" : "\"Infinity\""
  }
}
