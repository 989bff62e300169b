import BinaryModel
import Foundation
import Kernels
import TensorFiles

/// A checkpoint being written, in a hidden folder, in phases that the ranks of a world do one after the other:
/// `create` (one rank), `write` (each its parts), `digests` (each its pieces), `commit` (one rank). Until `commit`
/// renames the folder there is no checkpoint; `discard` removes it.
public struct CheckpointDraft: Sendable {
  let checkpoints: String
  let state: CheckpointState
  let tensors: CheckpointTensors
  private let durable: [String]

  /// A draft in the folder `checkpoints` of a run.
  ///
  /// - Parameter durable: files that `commit` brings to the disk first.
  public init(
    checkpoints: String, layout: ParameterLayout, state: CheckpointState, durable: [String] = []
  ) {
    self.checkpoints = checkpoints
    self.state = state
    self.durable = durable
    tensors = CheckpointTensors(layout)
  }

  /// The folder of the checkpoint once it is committed.
  public var path: String { checkpoints + "/" + checkpointName(step: state.step) }
  var hiddenPath: String { checkpoints + "/." + checkpointName(step: state.step) + ".partial" }
  private static let stateFile = "state.json"

  /// Makes the hidden folder and the files at their full size, with the headers and `state.json`.
  public func create() throws(CoordinatorError) {
    FaultInjection.delay(before: "create")
    try removeFolder(hiddenPath)
    if mkdir(hiddenPath, 0o755) != 0 {
      throw .file(.system(operation: "create", path: hiddenPath, code: errno))
    }
    try createFile(CheckpointTensors.modelFile, tensors.model)
    try createFile(CheckpointTensors.optimizerFile, tensors.optimizer)
    try files { () throws(TensorFileError) in
      try replaceFile(hiddenPath + "/" + Self.stateFile, with: [encodeJSON(state)])
    }
  }

  private func createFile(_ name: String, _ layout: SafetensorsLayout) throws(CoordinatorError) {
    let file = try FileAccess(creating: hiddenPath + "/" + name, size: layout.fileSize)
    try layout.headerBytes.span.bytes.withUnsafeBytes { bytes throws(CoordinatorError) in
      try file.write(bytes, at: 0)
    }
    try file.sync()
  }

  /// Writes `parts` of `vector`, makes them durable, and compares what the disk then holds with memory.
  ///
  /// - Parameter touch: called after each tensor.
  /// - Cost: writes and reads 4 bytes an element.
  public func write(
    _ vector: CheckpointVector, _ parts: [FlatPart], touch: () -> Void = {}
  ) throws(CoordinatorError) {
    FaultInjection.delay(before: "write")
    let file = try FileAccess(updating: hiddenPath + "/" + vector.fileName)
    let pieces = parts.flatMap { part in
      tensors.places(of: vector, in: part.range).map { elements, byte in
        let own = elements.lowerBound - part.start..<elements.upperBound - part.start
        return (bytes: UnsafeRawBufferPointer(part.values[own].bytes), byte: byte)
      }
    }
    for (bytes, byte) in pieces {
      try file.write(bytes, at: byte)
      touch()
    }
    try file.sync()
    for (bytes, byte) in pieces {
      touch()
      if try file.holds(bytes, at: byte) { continue }
      throw .unreadable(
        path: file.path,
        problem: "reads back other bytes than were written at byte \(byte); the disk is failing")
    }
  }

  /// All pieces of all files, in the order of the manifest.
  private var pieces: [Piece] {
    Piece.all(file: CheckpointTensors.modelFile, size: tensors.model.fileSize)
      + Piece.all(file: CheckpointTensors.optimizerFile, size: tensors.optimizer.fileSize)
      + Piece.all(file: Self.stateFile, size: encodeJSON(state).count)
  }

  /// Reads back every piece whose index is `rank` modulo `size` and returns their SHA-256s in order.
  public func digests(
    rank: Int, size: Int, touch: () -> Void = {}
  ) throws(CoordinatorError) -> [String] {
    FaultInjection.delay(before: "hash")
    var digests: [String] = []
    for (index, piece) in pieces.enumerated() where index % size == rank {
      touch()
      digests.append(try piece.digest(in: hiddenPath))
    }
    return digests
  }

  /// Writes the manifest, renames the folder to its final name, and points `latest` to it.
  ///
  /// - Parameter digests: what `digests` returned on each rank. They cover every piece.
  public func commit(_ digests: [[String]]) throws(CoordinatorError) {
    let all = pieces.indices.map { digests[$0 % digests.count][$0 / digests.count] }
    var entries: [CheckpointManifest.File] = []
    for (piece, digest) in zip(pieces, all) {
      let earlier = entries.last?.name == piece.file ? entries.removeLast().pieces : []
      entries.append(
        CheckpointManifest.File(name: piece.file, size: piece.fileSize, pieces: earlier + [digest]))
    }
    let manifest = encodeJSON(CheckpointManifest(files: entries))
    for path in durable { try FileAccess(updating: path).sync() }
    FaultInjection.delay(before: "manifest")
    try files { () throws(TensorFileError) in
      try replaceFile(hiddenPath + "/" + CheckpointManifest.fileName, with: [manifest])
    }
    // A damaged checkpoint of this step (a redone one) gives way, kept under another name.
    try setAside()
    FaultInjection.delay(before: "rename")
    if rename(hiddenPath, path) != 0 {
      throw .file(.system(operation: "rename to", path: path, code: errno))
    }
    try files { () throws(TensorFileError) in
      try syncFolder(checkpoints)
      FaultInjection.delay(before: "latest")
      try replaceFile(checkpoints + "/latest", with: [Array((checkpointName(step: state.step) + "\n").utf8)])
    }
  }

  /// Moves an older folder of the same step out of the way.
  private func setAside() throws(CoordinatorError) {
    var status = stat()
    guard lstat(path, &status) == 0 else { return }
    var number = 1
    while lstat("\(path).replaced-\(number)", &status) == 0 { number += 1 }
    if rename(path, "\(path).replaced-\(number)") != 0 {
      throw .file(.system(operation: "rename", path: path, code: errno))
    }
  }

  /// Removes the hidden folder.
  public func discard() throws(CoordinatorError) { try removeFolder(hiddenPath) }
}

/// The name of a checkpoint's folder: `step-00000100`.
public func checkpointName(step: Int) -> String {
  let digits = String(step)
  return "step-" + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
}

/// Removes a folder of files, if it is there.
func removeFolder(_ path: String) throws(CoordinatorError) {
  var status = stat()
  if lstat(path, &status) != 0 {
    if errno == ENOENT { return }
    throw .file(.system(operation: "look at", path: path, code: errno))
  }
  for name in try folderContents(path) where unlink(path + "/" + name) != 0 {
    throw .file(.system(operation: "remove", path: path + "/" + name, code: errno))
  }
  if rmdir(path) != 0 { throw .file(.system(operation: "remove", path: path, code: errno)) }
}
