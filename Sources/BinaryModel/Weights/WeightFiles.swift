import Foundation

/// Which files the path of a model means: one safetensors file, or the shards that an index names.
public struct WeightFiles: Sendable {
  /// The index of a sharded model; nil for a single file.
  let index: String?
  /// The safetensors files, in the order of their names.
  let shards: [String]
  /// The number of the shard that holds each tensor, as the index says; empty without one.
  let tensors: [String: Int]

  /// All files whose bytes make the model.
  public var all: [String] { (index.map { [$0] } ?? []) + shards }

  /// - Throws: `ModelError.notWeights` for a folder without a model, or an index that is none or lacks a file.
  public init(path: String) throws(ModelError) {
    var file = path
    if Self.isFolder(path) {
      let names = ["model.safetensors", "model.safetensors.index.json"]
      guard let name = names.first(where: { FileManager.default.fileExists(atPath: path + "/" + $0) }) else {
        throw .notWeights(path: path, what: "is a folder that holds neither \(names[0]) nor \(names[1])")
      }
      file = path + "/" + name
    }
    if access(file, R_OK) != 0 {
      throw .notWeights(
        path: file,
        what:
          "\(String(cString: strerror(errno))); initial_weights and teacher name safetensors, or a folder with them"
      )
    }
    guard file.hasSuffix(".json") else {
      self.index = nil
      self.shards = [file]
      self.tensors = [:]
      return
    }
    let map = try Self.readIndex(file)
    let names = Set(map.values).sorted()
    let folder = (file as NSString).deletingLastPathComponent
    for name in names {
      guard !name.isEmpty, !name.contains("/"), !name.hasSuffix(".json") else {
        throw .notWeights(path: file, what: "names the file \"\(name)\"; it may name files beside it only")
      }
    }
    let shards = names.map { (folder as NSString).appendingPathComponent($0) }
    for shard in shards where access(shard, R_OK) != 0 {
      throw .notWeights(
        path: file,
        what: "names the file \(shard): \(String(cString: strerror(errno))); copy all files of the model")
    }
    self.index = file
    self.shards = shards
    let numbers = Dictionary(uniqueKeysWithValues: names.enumerated().map { ($1, $0) })
    self.tensors = map.compactMapValues { numbers[$0] }
  }

  private struct Index: Decodable {
    let files: [String: String]

    enum CodingKeys: String, CodingKey {
      case files = "weight_map"
    }
  }

  private static func readIndex(_ path: String) throws(ModelError) -> [String: String] {
    let bytes: Data
    do {
      bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    } catch {
      let reason = access(path, R_OK) == 0 ? "cannot be read" : String(cString: strerror(errno))
      throw .notWeights(path: path, what: reason)
    }
    guard let index = try? JSONDecoder().decode(Index.self, from: bytes), !index.files.isEmpty else {
      throw .notWeights(
        path: path,
        what:
          "is not the index of a sharded model (its \"weight_map\" says which file holds each tensor); give "
          + "model.safetensors, model.safetensors.index.json, or their folder")
    }
    return index.files
  }

  private static func isFolder(_ path: String) -> Bool {
    var isFolder: ObjCBool = false
    return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && isFolder.boolValue
  }

  /// What a file that is not safetensors seems to be, by its first bytes, and what to do; nil if nothing known.
  static func recognise(_ path: String) -> String? {
    guard let file = FileHandle(forReadingAtPath: path), let bytes = try? file.read(upToCount: 64) else {
      return nil
    }
    let known: [(start: [UInt8], what: String)] = [
      (
        Array("version https://git-lfs".utf8),
        "is a pointer of Git LFS, not the weights; fetch them with git lfs pull"
      ),
      (
        [0x50, 0x4B, 0x03, 0x04],
        "is a PyTorch checkpoint; save it as safetensors (save_pretrained(…, safe_serialization=True))"
      ),
      (
        [0x80, 0x02],
        "is a pickle of PyTorch; save it as safetensors (save_pretrained(…, safe_serialization=True))"
      ),
      ([0x1F, 0x8B], "is compressed with gzip; unpack it first"),
    ]
    return known.first { bytes.starts(with: $0.start) }?.what
  }
}
