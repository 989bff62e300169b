/// What can be wrong with the header of a safetensors file. Each description is one line without the file's name.
public enum SafetensorsFault: Error, Equatable, Sendable, CustomStringConvertible {
  /// The file is too short to hold even the header's length.
  case tooShort(size: Int)
  /// The header's length is over the limit or reaches past the end of the file.
  case headerLength(UInt64, size: Int)
  /// The header is not what the format asks for; `byte` counts from the start of the file.
  case syntax(byte: Int, problem: String)
  case duplicateTensor(tensor: String)
  case unknownType(tensor: String, type: String)
  /// Product of the shape times the element size differs from the length of the data (nil: it overflows).
  case sizeMismatch(tensor: String, shape: [Int], type: TensorType, expected: Int?, actual: Int)
  /// The offsets run backwards or leave the data.
  case offsetsOutside(tensor: String, begin: Int, end: Int, dataSize: Int)
  case overlap(tensor: String, begin: Int, previousEnd: Int)
  /// Bytes that belong to no tensor; `tensor` is the one after them, nil at the end of the file.
  case hole(tensor: String?, begin: Int, end: Int)

  public var description: String {
    switch self {
    case .tooShort(let size):
      return "\(size) bytes are too few for a safetensors file (at least 8); copy the file again"
    case .headerLength(let length, let size):
      return "the header claims \(length) bytes, the file has \(size): not a safetensors file, or truncated"
    case .syntax(let byte, let problem):
      return "byte \(byte) of the safetensors header: \(problem); not a safetensors file, or damaged"
    case .duplicateTensor(let tensor):
      return "tensor \(tensor) is there twice"
    case .unknownType(let tensor, let type):
      let known = TensorType.allCases.map(\.rawValue).joined(separator: ", ")
      return "tensor \(tensor) has the unknown type \(type); known: \(known)"
    case .sizeMismatch(let tensor, let shape, let type, let expected, let actual):
      let wanted = expected.map { "\($0)" } ?? "more than 2^63"
      return "tensor \(tensor) of shape \(shape) and type \(type.rawValue) takes \(wanted) bytes, "
        + "its offsets span \(actual)"
    case .offsetsOutside(let tensor, let begin, let end, let dataSize):
      return "tensor \(tensor) lies at bytes \(begin) to \(end) of \(dataSize) bytes of data; "
        + "the file is truncated or damaged"
    case .overlap(let tensor, let begin, let previousEnd):
      return "tensor \(tensor) begins at byte \(begin) of the data, inside the one before (to \(previousEnd))"
    case .hole(let tensor, let begin, let end):
      let place = tensor.map { "before tensor \($0)" } ?? "at the end"
      return "bytes \(begin) to \(end) of the data, \(place), belong to no tensor"
    }
  }
}
