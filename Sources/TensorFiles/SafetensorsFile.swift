import DurableFiles
import FileFormats

/// An open safetensors file, memory-mapped: u64 header length, JSON header, data.
///
/// Format and its rules (no holes, no overlaps, every size exact): huggingface/safetensors, as its reference
/// implementation demands them.
public struct SafetensorsFile: Sendable {
  public let path: String
  /// The text pairs of `__metadata__`.
  public let metadata: [String: String]
  /// The tensors in the order of their data.
  public let entries: [TensorEntry]
  private let indices: [String: Int]
  private let file: MappedFile

  /// Opens `path` and checks its header; the data are not read.
  ///
  /// - Throws: a `TensorFileError` that names the tensor and the numbers.
  /// - Cost: linear in the header.
  public init(path: String) throws(TensorFileError) {
    let file = try files { () throws(FileError) in try MappedFile(path: path) }
    let header = try file.withBytes { bytes throws(TensorFileError) in
      do throws(SafetensorsFault) { return try SafetensorsHeader(bytes) } catch {
        throw .init(error, path: path)
      }
    }
    self.file = file
    self.path = path
    metadata = header.metadata
    entries = header.entries
    indices = Dictionary(uniqueKeysWithValues: entries.enumerated().map { ($1.name, $0) })
  }

  /// The tensor called `name`, or nil.
  public func find(_ name: String) -> TensorEntry? { indices[name].map { entries[$0] } }

  /// The tensor called `name`.
  ///
  /// - Throws: `TensorFileError.missingTensor`.
  public func entry(_ name: String) throws(TensorFileError) -> TensorEntry {
    guard let entry = find(name) else { throw .missingTensor(path: path, tensor: name) }
    return entry
  }

  /// Calls `body` with the bytes of `entry`, one of this file; they are valid only inside it and may be unaligned.
  public func withBytes<Result>(
    of entry: TensorEntry, _ body: (UnsafeRawBufferPointer) throws -> Result
  ) rethrows -> Result {
    try file.withBytes { try body(UnsafeRawBufferPointer(rebasing: $0[entry.range])) }
  }
}
