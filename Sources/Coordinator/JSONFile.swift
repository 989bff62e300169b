import Foundation
import TensorFiles

/// The one way in which this module writes JSON: sorted keys, so that equal values give equal bytes.
func encodeJSON(_ value: some Encodable) -> [UInt8] {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
  encoder.keyEncodingStrategy = .convertToSnakeCase
  // Our types hold strings, whole numbers and finite floats, which always encode.
  guard let data = try? encoder.encode(value) else {
    preconditionFailure("\(type(of: value)) does not encode")
  }
  return Array(data) + [UInt8(ascii: "\n")]
}

/// Reads a `Value` from the JSON file `path`.
///
/// - Throws: `CoordinatorError.file` or `unreadable`.
func decodeJSON<Value: Decodable>(_: Value.Type, path: String) throws(CoordinatorError) -> Value {
  try decodeJSON(Value.self, try files { () throws(TensorFileError) in try readFile(path) }, path: path)
}

/// Reads a `Value` from JSON that came from `path`.
///
/// - Throws: `CoordinatorError.unreadable`.
func decodeJSON<Value: Decodable>(
  _: Value.Type, _ bytes: [UInt8], path: String
) throws(CoordinatorError) -> Value {
  let decoder = JSONDecoder()
  decoder.keyDecodingStrategy = .convertFromSnakeCase
  do { return try decoder.decode(Value.self, from: Data(bytes)) } catch {
    throw .unreadable(path: path, problem: "not the JSON that a run writes (\(summary(of: error)))")
  }
}

/// All bytes of a small file.
func readFile(_ path: String) throws(TensorFileError) -> [UInt8] {
  try MappedFile(path: path).withBytes { Array($0) }
}

/// One line about a decoding error.
private func summary(of error: any Error) -> String {
  func place(_ context: DecodingError.Context) -> String {
    context.codingPath.map(\.stringValue).joined(separator: ".")
  }
  switch error as? DecodingError {
  case .keyNotFound(let key, _): return "key \(key.stringValue) is missing"
  case .typeMismatch(_, let context), .valueNotFound(_, let context):
    return "key \(place(context)) has a wrong type"
  default: return "damaged or truncated"
  }
}
