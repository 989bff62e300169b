import DurableFiles

/// Reads a `Value` from the JSON file `path`.
///
/// - Throws: `CoordinatorError.file` or `unreadable`.
func decodeJSON<Value: Decodable>(_: Value.Type, path: String) throws(CoordinatorError) -> Value {
  try decodeJSON(Value.self, try files { () throws(FileError) in try readFile(path) }, path: path)
}

/// Reads a `Value` from JSON that came from `path`.
///
/// - Throws: `CoordinatorError.unreadable`.
func decodeJSON<Value: Decodable>(
  _: Value.Type, _ bytes: [UInt8], path: String
) throws(CoordinatorError) -> Value {
  do throws(JSONFault) { return try decodeJSON(Value.self, bytes) } catch {
    throw .unreadable(path: path, problem: "not the JSON that a run writes (\(summary(of: error)))")
  }
}

/// The bytes of a JSON file of ours that has a `version`.
///
/// - Throws: `newerFormat` if it is above `known`, before anything else is made of the file; `file`.
func readVersioned(_ path: String, known: Int) throws(CoordinatorError) -> [UInt8] {
  struct Version: Decodable { let version: Int }
  let bytes = try files { () throws(FileError) in try readFile(path) }
  if let found = try? DurableFiles.decodeJSON(Version.self, bytes), found.version > known {
    throw .newerFormat(path: path, version: found.version, known: known)
  }
  return bytes
}

/// One line about a decoding error.
private func summary(of fault: JSONFault) -> String {
  switch fault {
  case .missing(let key): "key \(key) is missing"
  case .wrongType(let key), .null(let key): "key \(key) has a wrong type"
  case .notAllowed, .notJSON: "damaged or truncated"
  }
}
