import DurableFiles

/// What can be wrong with a tensor file. Each description is one line: the file, the place, the numbers, what to do.
public enum TensorFileError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The file could not be read or written.
  case file(FileError)
  /// The file is too short to hold even the header's length.
  case tooShort(path: String, size: Int)
  /// The header's length is over the limit or reaches past the end of the file.
  case headerLength(path: String, length: UInt64, size: Int)
  /// The header is not what the format asks for; `byte` counts from the start of the file.
  case headerSyntax(path: String, byte: Int, problem: String)
  case duplicateTensor(path: String, tensor: String)
  case unknownType(path: String, tensor: String, type: String)
  /// Product of the shape times the element size differs from the length of the data (nil: it overflows).
  case sizeMismatch(path: String, tensor: String, shape: [Int], type: TensorType, expected: Int?, actual: Int)
  /// The offsets run backwards or leave the data.
  case offsetsOutside(path: String, tensor: String, begin: Int, end: Int, dataSize: Int)
  case overlap(path: String, tensor: String, begin: Int, previousEnd: Int)
  /// Bytes that belong to no tensor; `tensor` is the one after them, nil at the end of the file.
  case hole(path: String, tensor: String?, begin: Int, end: Int)
  case missingTensor(path: String, tensor: String)
  case unreadableType(path: String, tensor: String, type: TensorType, wanted: String)

  public var description: String {
    switch self {
    case .file(let error): return error.description
    case .tooShort(let path, let size):
      return "\(path): \(size) bytes are too few for a safetensors file (at least 8); copy the file again"
    case .headerLength(let path, let length, let size):
      return
        "\(path): the header claims \(length) bytes, the file has \(size): not a safetensors file, or truncated"
    case .headerSyntax(let path, let byte, let problem):
      return "\(path): byte \(byte) of the safetensors header: \(problem); not a safetensors file, or damaged"
    case .duplicateTensor(let path, let tensor):
      return "\(path): tensor \(tensor) is there twice"
    case .unknownType(let path, let tensor, let type):
      let known = TensorType.allCases.map(\.rawValue).joined(separator: ", ")
      return "\(path): tensor \(tensor) has the unknown type \(type); known: \(known)"
    case .sizeMismatch(let path, let tensor, let shape, let type, let expected, let actual):
      let wanted = expected.map { "\($0)" } ?? "more than 2^63"
      return "\(path): tensor \(tensor) of shape \(shape) and type \(type.rawValue) takes \(wanted) bytes, "
        + "its offsets span \(actual)"
    case .offsetsOutside(let path, let tensor, let begin, let end, let dataSize):
      return "\(path): tensor \(tensor) lies at bytes \(begin) to \(end) of \(dataSize) bytes of data; "
        + "the file is truncated or damaged"
    case .overlap(let path, let tensor, let begin, let previousEnd):
      return
        "\(path): tensor \(tensor) begins at byte \(begin) of the data, inside the one before (to \(previousEnd))"
    case .hole(let path, let tensor, let begin, let end):
      let place = tensor.map { "before tensor \($0)" } ?? "at the end"
      return "\(path): bytes \(begin) to \(end) of the data, \(place), belong to no tensor"
    case .missingTensor(let path, let tensor):
      return "\(path): there is no tensor \(tensor)"
    case .unreadableType(let path, let tensor, let type, let wanted):
      return "\(path): tensor \(tensor) has type \(type.rawValue), wanted \(wanted)"
    }
  }
}

/// Runs `body`, whose errors are about files.
func files<Result>(_ body: () throws(FileError) -> Result) throws(TensorFileError) -> Result {
  do throws(FileError) { return try body() } catch { throw .file(error) }
}
