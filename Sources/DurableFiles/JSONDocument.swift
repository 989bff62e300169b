import FileFormats
import FoundationEssentials

// Reading JSON needs no files; whoever reads files of JSON finds it here.
public typealias JSONReader = FileFormats.JSONReader
public typealias JSONProblem = FileFormats.JSONProblem

/// A value as the text of a JSON file of ours: keys in snake case and sorted, so that equal values give equal bytes, indented,
/// with a line end.
public func encodeJSON(_ value: some Encodable) -> [UInt8] {
  encode(value, [.prettyPrinted]) { $0.keyEncodingStrategy = .convertToSnakeCase }
}

/// A value as one line of a JSON-lines file of ours, with its end: keys as they are, sorted.
public func encodeJSONLine(_ value: some Encodable) -> [UInt8] { encode(value, []) { _ in } }

private func encode(
  _ value: some Encodable, _ formatting: JSONEncoder.OutputFormatting, _ prepare: (JSONEncoder) -> Void
) -> [UInt8] {
  let encoder = JSONEncoder()
  encoder.outputFormatting = formatting.union([.sortedKeys, .withoutEscapingSlashes])
  prepare(encoder)
  // Our types hold strings, whole numbers and finite floats, which always encode.
  guard let data = try? encoder.encode(value) else {
    preconditionFailure("\(type(of: value)) does not encode")
  }
  return Array(data) + [UInt8(ascii: "\n")]
}

/// Reads a value that `encodeJSON` wrote, or a person in its place.
///
/// - Throws: `JSONFault`.
public func decodeJSON<Value: Decodable>(_: Value.Type, _ bytes: [UInt8]) throws(JSONFault) -> Value {
  try decode(bytes) { $0.keyDecodingStrategy = .convertFromSnakeCase }
}

/// Reads a value that `encodeJSONLine` wrote, the line end left out.
///
/// - Throws: `JSONFault`.
public func decodeJSONLine<Value: Decodable>(
  _: Value.Type, _ bytes: some Sequence<UInt8>
) throws(JSONFault) -> Value {
  try decode(Array(bytes)) { _ in }
}

private func decode<Value: Decodable>(
  _ bytes: [UInt8], _ prepare: (JSONDecoder) -> Void
) throws(JSONFault) -> Value {
  let decoder = JSONDecoder()
  prepare(decoder)
  do { return try decoder.decode(Value.self, from: Data(bytes)) } catch { throw JSONFault(error) }
}

/// Why JSON is not the value that was wanted.
public enum JSONFault: Error, Equatable, Sendable {
  /// Keys joined by points, from the outermost; empty for the whole.
  case missing(key: String)
  case wrongType(key: String)
  case null(key: String)
  case notAllowed(key: String)
  case notJSON

  init(_ error: any Error) {
    func name(_ path: [any CodingKey]) -> String { path.map(\.stringValue).joined(separator: ".") }
    switch error as? DecodingError {
    case .keyNotFound(let key, let context)?: self = .missing(key: name(context.codingPath + [key]))
    case .typeMismatch(_, let context)?: self = .wrongType(key: name(context.codingPath))
    case .valueNotFound(_, let context)?: self = .null(key: name(context.codingPath))
    case .dataCorrupted(let context)? where !context.codingPath.isEmpty:
      self = .notAllowed(key: name(context.codingPath))
    default: self = .notJSON
    }
  }

  /// "no totals.tokens", "not JSON".
  public var reason: String {
    switch self {
    case .missing(let key): "no \(key)"
    case .wrongType(let key): "\(key) has the wrong type"
    case .null(let key): "\(key) is null"
    case .notAllowed(let key): "\(key) has a value that is not allowed"
    case .notJSON: "not JSON"
    }
  }
}
