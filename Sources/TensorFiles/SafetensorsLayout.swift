import DurableFiles
import FileFormats

/// Where everything lies in a safetensors file that is yet to be written, so that many writers can each write a part.
///
/// Equal arguments give equal bytes: tensors in the order given, metadata sorted by key.
public struct SafetensorsLayout: Sendable {
  /// The data begin at a multiple of this, padded with spaces at the end of the header.
  public static let alignment = 64

  /// The first bytes of the file: the header's length and its JSON.
  public let headerBytes: [UInt8]
  /// The tensors in the order given, with their bytes in the file.
  public let entries: [TensorEntry]
  /// Bytes of the whole file.
  public let fileSize: Int

  /// Plans a file of these tensors, whose names differ.
  ///
  /// - Cost: linear in the number of tensors.
  public init(tensors: [(name: String, type: TensorType, shape: [Int])], metadata: [String: String] = [:]) {
    precondition(Set(tensors.map(\.name)).count == tensors.count, "two tensors of one name")
    precondition(!tensors.contains { $0.name == "__metadata__" }, "a tensor called __metadata__")
    var members: [String] = []
    if !metadata.isEmpty {
      let pairs = metadata.sorted { $0.key < $1.key }.map {
        "\(JSONText.quoted($0.key)):\(JSONText.quoted($0.value))"
      }
      members.append("\"__metadata__\":{\(pairs.joined(separator: ","))}")
    }
    var ranges: [Range<Int>] = []
    var end = 0
    for tensor in tensors {
      guard !tensor.shape.contains(where: { $0 < 0 }),
        let size = tensor.type.byteCount(shape: tensor.shape)
      else { preconditionFailure("tensor \(tensor.name) of shape \(tensor.shape)") }
      let shape = tensor.shape.map(String.init).joined(separator: ",")
      members.append(
        "\(JSONText.quoted(tensor.name)):{\"dtype\":\"\(tensor.type.rawValue)\",\"shape\":[\(shape)],"
          + "\"data_offsets\":[\(end),\(end + size)]}")
      ranges.append(end..<end + size)
      end += size
    }
    var json = Array("{\(members.joined(separator: ","))}".utf8)
    let unpadded = 8 + json.count
    let start = (unpadded + Self.alignment - 1) / Self.alignment * Self.alignment
    json += Array(repeating: UInt8(ascii: " "), count: start - unpadded)
    headerBytes = withUnsafeBytes(of: UInt64(json.count).littleEndian) { Array($0) } + json
    entries = zip(tensors, ranges).map {
      TensorEntry(
        name: $0.name, type: $0.type, shape: $0.shape, range: start + $1.lowerBound..<start + $1.upperBound)
    }
    fileSize = start + end
  }
}

/// A tensor in memory, to be written. Bytes are row-major and little endian.
public struct Tensor: Sendable {
  public let name: String
  public let type: TensorType
  public let shape: [Int]
  public let bytes: [UInt8]

  public init(name: String, type: TensorType, shape: [Int], bytes: [UInt8]) {
    precondition(
      type.byteCount(shape: shape) == bytes.count,
      "tensor \(name) of shape \(shape) and type \(type.rawValue) from \(bytes.count) bytes")
    self.name = name
    self.type = type
    self.shape = shape
    self.bytes = bytes
  }

  public init(name: String, shape: [Int], floats: [Float]) {
    self.init(name: name, type: .float32, shape: shape, bytes: floats.withUnsafeBytes { Array($0) })
  }

  public init(name: String, shape: [Int], int64s: [Int64]) {
    self.init(name: name, type: .int64, shape: shape, bytes: int64s.withUnsafeBytes { Array($0) })
  }
}

/// Writes a whole file of tensors in memory; it is either complete or not there (`replaceFile`).
///
/// - Cost: writes the bytes once, from where they are.
public func writeSafetensors(
  path: String, tensors: [Tensor], metadata: [String: String] = [:]
) throws(TensorFileError) {
  let layout = SafetensorsLayout(tensors: tensors.map { ($0.name, $0.type, $0.shape) }, metadata: metadata)
  try files { () throws(FileError) in
    try replaceFile(path, with: [layout.headerBytes] + tensors.map(\.bytes))
  }
}
