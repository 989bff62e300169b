import DurableFiles
import FileFormats

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

  /// A fault of the header of the file `path`.
  init(_ fault: SafetensorsFault, path: String) {
    self =
      switch fault {
      case .tooShort(let size): .tooShort(path: path, size: size)
      case .headerLength(let length, let size): .headerLength(path: path, length: length, size: size)
      case .syntax(let byte, let problem): .headerSyntax(path: path, byte: byte, problem: problem)
      case .duplicateTensor(let tensor): .duplicateTensor(path: path, tensor: tensor)
      case .unknownType(let tensor, let type): .unknownType(path: path, tensor: tensor, type: type)
      case .sizeMismatch(let tensor, let shape, let type, let expected, let actual):
        .sizeMismatch(
          path: path, tensor: tensor, shape: shape, type: type, expected: expected, actual: actual)
      case .offsetsOutside(let tensor, let begin, let end, let dataSize):
        .offsetsOutside(path: path, tensor: tensor, begin: begin, end: end, dataSize: dataSize)
      case .overlap(let tensor, let begin, let previousEnd):
        .overlap(path: path, tensor: tensor, begin: begin, previousEnd: previousEnd)
      case .hole(let tensor, let begin, let end): .hole(path: path, tensor: tensor, begin: begin, end: end)
      }
  }

  public var description: String {
    func text(_ path: String, _ fault: SafetensorsFault) -> String { "\(path): \(fault)" }
    switch self {
    case .file(let error): return error.description
    case .tooShort(let path, let size): return text(path, .tooShort(size: size))
    case .headerLength(let path, let length, let size): return text(path, .headerLength(length, size: size))
    case .headerSyntax(let path, let byte, let problem):
      return text(path, .syntax(byte: byte, problem: problem))
    case .duplicateTensor(let path, let tensor): return text(path, .duplicateTensor(tensor: tensor))
    case .unknownType(let path, let tensor, let type):
      return text(path, .unknownType(tensor: tensor, type: type))
    case .sizeMismatch(let path, let tensor, let shape, let type, let expected, let actual):
      return text(
        path,
        .sizeMismatch(tensor: tensor, shape: shape, type: type, expected: expected, actual: actual))
    case .offsetsOutside(let path, let tensor, let begin, let end, let dataSize):
      return text(path, .offsetsOutside(tensor: tensor, begin: begin, end: end, dataSize: dataSize))
    case .overlap(let path, let tensor, let begin, let previousEnd):
      return text(path, .overlap(tensor: tensor, begin: begin, previousEnd: previousEnd))
    case .hole(let path, let tensor, let begin, let end):
      return text(path, .hole(tensor: tensor, begin: begin, end: end))
    case .missingTensor(let path, let tensor):
      return "\(path): there is no tensor \(tensor)"
    case .unreadableType(let path, let tensor, let type, let wanted):
      return "\(path): tensor \(tensor) has type \(type.rawValue), wanted \(wanted)"
    }
  }
}

// What the header knows; whoever reads files finds them here.
public typealias TensorType = FileFormats.TensorType
public typealias TensorEntry = FileFormats.TensorEntry

/// Runs `body`, whose errors are about files.
func files<Result>(_ body: () throws(FileError) -> Result) throws(TensorFileError) -> Result {
  do throws(FileError) { return try body() } catch { throw .file(error) }
}
