import FileFormats

/// What can be wrong with a packed model or with what it is asked. Each description is one line, without the file's name.
public enum BinaryModelError: Error, Equatable, Sendable, CustomStringConvertible {
  // The file.
  /// It cannot be read; the reason is the system's.
  case cannotRead(reason: String)
  /// It is no safetensors file, or a damaged one.
  case header(SafetensorsFault)
  /// It is a safetensors file of something else.
  case notAPackedModel
  case otherVersion(found: String, known: Int)
  /// A value of the metadata is missing (nil) or cannot be.
  case metadata(key: String, value: String?, wanted: String)
  case missingTensor(String)
  case tensor(String, found: String, wanted: String)
  /// The bytes of a tensor begin where its elements cannot be read in place.
  case misaligned(String, byte: Int, wanted: Int)
  case vocabulary(String)

  // The question.
  case unknownInstructionSet(String, available: [String])
  case tokenCount(Int, limit: Int)
  case tokenOutOfRange(token: Int32, position: Int, vocabularySize: Int)
  case segments([Int32], tokens: Int)
  case positionOutOfRange(Int, tokens: Int)
  /// The file has no head for that.
  case noHead(wanted: ModelHead)

  public var description: String {
    switch self {
    case .cannotRead(let reason): "cannot be read (\(reason))"
    case .header(let fault): fault.description
    case .notAPackedModel:
      "is no packed model (its metadata have no format \"\(PackedModelFormat.name)\"); bipft export makes one of a run"
    case .otherVersion(let found, let known):
      "is of version \(found) of the format, this program knows \(known); export the model again"
    case .metadata(let key, let value, let wanted):
      "metadata \(key): \(value.map { "\"\($0)\"" } ?? "missing"), wanted \(wanted); export the model again"
    case .missingTensor(let name): "there is no tensor \(name); export the model again"
    case .tensor(let name, let found, let wanted):
      "tensor \(name) is \(found), wanted \(wanted); export the model again"
    case .misaligned(let name, let byte, let wanted):
      "tensor \(name) begins at byte \(byte), not at a multiple of \(wanted); export the model again"
    case .vocabulary(let problem): "vocabulary: \(problem); export the model again"
    case .unknownInstructionSet(let name, let available):
      "this processor has no kernels \(name); use one of \(available.joined(separator: ", "))"
    case .tokenCount(let count, let limit):
      "\(count) tokens, the model takes 1 to \(limit) ([CLS] and [SEP] included)"
    case .tokenOutOfRange(let token, let position, let size):
      "token \(token) at position \(position), the vocabulary has \(size)"
    case .segments(let segments, let tokens):
      "\(segments.count) segments for \(tokens) tokens; wanted as many, each 0 or 1, or none"
    case .positionOutOfRange(let position, let tokens): "position \(position) of \(tokens) tokens"
    case .noHead(let head):
      "the model has no head \"\(head.rawValue)\"; export it with --head \(head.rawValue)"
    }
  }
}
