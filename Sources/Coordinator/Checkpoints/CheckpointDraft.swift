import DurableFiles
import Foundation
import Kernels
import Parameters
import TensorFiles

/// A checkpoint being written, in a hidden folder, in phases that the ranks of a world do one after the other:
/// `create` (one rank), `write` (each its parts; one rank `writeState` too), `sharedDigests` (what several wrote), `commit`
/// (one rank). Until `commit` renames the folder there is no checkpoint; `discard` removes it.
public struct CheckpointDraft: Sendable {
  let checkpoints: String
  let state: CheckpointState
  let tensors: CheckpointTensors
  private let durable: [String]

  /// A draft in the folder `checkpoints` of a run.
  ///
  /// - Parameter durable: files that `commit` brings to the disk first.
  public init(
    checkpoints: String, tensors: CheckpointTensors, state: CheckpointState, durable: [String] = []
  ) {
    self.checkpoints = checkpoints
    self.state = state
    self.durable = durable
    self.tensors = tensors
  }

  /// The folder of the checkpoint once it is committed.
  public var path: String { checkpoints + "/" + checkpointName(step: state.step) }
  var hiddenPath: String { checkpoints + "/." + checkpointName(step: state.step) + ".partial" }
  static let stateFile = "state.json"

  /// Makes the hidden folder and the tensor files at their full size, with the headers. `write` makes them durable.
  ///
  /// - Cost: the room is reserved, not written; waits for no fsync, since training waits for it.
  public func create() throws(CheckpointError) {
    FaultInjection.delay(before: "create")
    try CheckpointError.files { () throws(FileError) in
      try removeFolder(hiddenPath)
      try createFolder(hiddenPath)
    }
    try createFile(CheckpointTensors.modelFile, tensors.model)
    try createFile(CheckpointTensors.optimizerFile, tensors.optimizer)
  }

  private func createFile(_ name: String, _ layout: SafetensorsLayout) throws(CheckpointError) {
    try CheckpointError.files { () throws(FileError) in
      try FileAccess(creating: hiddenPath + "/" + name, size: layout.fileSize).write(
        layout.headerBytes, at: 0)
    }
  }

  /// Writes `state.json`, durable.
  public func writeState() throws(CheckpointError) {
    try CheckpointError.files { () throws(FileError) in
      try replaceFile(hiddenPath + "/" + Self.stateFile, with: encodeJSON(state))
    }
  }

  /// SHA-256 of pieces of the files, by their place in the order of the manifest.
  public typealias Digests = [Int: String]

  /// Writes the parts of `snapshot`, makes them durable, reads them back, and compares their hashes with those of what was
  /// written.
  ///
  /// - Parameter touch: called after each block is read from the snapshot, and after each stretch is read back.
  /// - Returns: the digests of the pieces that this rank has written alone.
  /// - Cost: writes and reads 4 bytes an element, hashed both ways; memory for one block.
  public func write(_ snapshot: CheckpointSnapshot, touch: () -> Void = {}) throws(CheckpointError)
    -> Digests
  {
    FaultInjection.delay(before: "write")
    let names = [CheckpointTensors.modelFile, CheckpointTensors.optimizerFile]
    var written: [String] = []
    for name in names { written += try write(snapshot, to: name, touch) }
    for name in names {
      try CheckpointError.files { () throws(FileError) in
        try FileAccess(updating: hiddenPath + "/" + name).sync()
      }
    }
    var digests = Digests()
    for (stretch, digest) in zip(snapshot.stretches, written) {
      let path = hiddenPath + "/" + stretch.piece.file
      touch()
      let found = try CheckpointError.files { () throws(FileError) in
        try FileAccess(reading: path).digest(stretch.bytes)
      }
      guard found == digest else {
        throw .unreadable(
          path: path,
          problem: "reads back other bytes than were written from byte \(stretch.bytes.lowerBound) to "
            + "\(stretch.bytes.upperBound); the disk is failing")
      }
      if stretch.bytes == stretch.piece.range { digests[index(of: stretch.piece)] = digest }
    }
    return digests
  }

  /// Writes what belongs into one file, and returns the hash of each stretch.
  private func write(
    _ snapshot: CheckpointSnapshot, to name: String, _ touch: () -> Void
  ) throws(CheckpointError) -> [String] {
    let file = try CheckpointError.files { () throws(FileError) in
      try FileAccess(updating: hiddenPath + "/" + name)
    }
    let buffer = UnsafeMutableRawBufferPointer.allocate(
      byteCount: CheckpointSnapshot.blockSize, alignment: 64)
    defer { buffer.deallocate() }
    return try snapshot.stretches.filter { $0.piece.file == name }.map { stretch throws(CheckpointError) in
      var hash = SHA256()
      for block in stretch.blocks {
        let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer[..<block.bytes.count])
        guard snapshot.readNext(into: bytes) else {
          throw .notWritten(step: state.step, reason: "the job ends")
        }
        touch()
        do throws(FileError) {
          try file.write(UnsafeRawBufferPointer(bytes), at: block.bytes.lowerBound)
        } catch { throw .file(error) }
        hash.update(UnsafeRawBufferPointer(bytes))
      }
      return hash.finish()
    }
  }

  /// All pieces of all files, in the order of the manifest.
  private var pieces: [Piece] {
    Piece.all(file: CheckpointTensors.modelFile, size: tensors.model.fileSize)
      + Piece.all(file: CheckpointTensors.optimizerFile, size: tensors.optimizer.fileSize)
      + Piece.all(file: Self.stateFile, size: encodeJSON(state).count)
  }

  /// The place of a tensor file's piece in `pieces`.
  private func index(of piece: Piece) -> Int {
    piece.file == CheckpointTensors.modelFile
      ? piece.index
      : Piece.all(file: CheckpointTensors.modelFile, size: tensors.model.fileSize).count + piece.index
  }

  /// Reads back the pieces that this rank has not written alone, but the last bytes of; of rank 0 also `state.json`. All
  /// ranks have written by then.
  public func sharedDigests(
    _ snapshot: CheckpointSnapshot, rank: Int, touch: () -> Void = {}
  ) throws(CheckpointError) -> Digests {
    FaultInjection.delay(before: "hash")
    var digests = Digests()
    for stretch in snapshot.stretches
    where stretch.bytes.upperBound == stretch.piece.range.upperBound && stretch.bytes != stretch.piece.range {
      touch()
      digests[index(of: stretch.piece)] = try stretch.piece.digest(in: hiddenPath)
    }
    if rank == 0 {
      for (index, piece) in pieces.enumerated() where piece.file == Self.stateFile {
        digests[index] = try piece.digest(in: hiddenPath)
      }
    }
    return digests
  }

  /// Writes the manifest, renames the folder to its final name, and points `latest` to it.
  ///
  /// - Parameter digests: of every piece.
  public func commit(_ digests: Digests) throws(CheckpointError) {
    var entries: [CheckpointManifest.File] = []
    for (index, piece) in pieces.enumerated() {
      guard let digest = digests[index] else {
        preconditionFailure("no rank has written the end of piece \(piece.index) of \(piece.file)")
      }
      let earlier = entries.last?.name == piece.file ? entries.removeLast().pieces : []
      entries.append(
        CheckpointManifest.File(name: piece.file, size: piece.fileSize, pieces: earlier + [digest]))
    }
    let manifest = encodeJSON(CheckpointManifest(files: entries))
    try CheckpointError.files { () throws(FileError) in
      for path in durable { try FileAccess(updating: path).sync() }
    }
    FaultInjection.delay(before: "manifest")
    try CheckpointError.files { () throws(FileError) in
      try replaceFile(hiddenPath + "/" + CheckpointManifest.fileName, with: manifest)
    }
    // A damaged checkpoint of this step (a redone one) gives way, kept under another name.
    try setAsideCheckpoint(path)
    FaultInjection.delay(before: "rename")
    try CheckpointError.files { () throws(FileError) in
      try moveFile(hiddenPath, to: path)
      try syncFolder(checkpoints)
      FaultInjection.delay(before: "latest")
      try replaceFile(checkpoints + "/latest", with: Array((checkpointName(step: state.step) + "\n").utf8))
    }
  }

  /// Removes the hidden folder.
  public func discard() throws(CheckpointError) {
    try CheckpointError.files { () throws(FileError) in try removeFolder(hiddenPath) }
  }
}

/// The name of a checkpoint's folder: `step-00000100`.
public func checkpointName(step: Int) -> String {
  let digits = String(step)
  return "step-" + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
}

/// Moves the checkpoint at `path`, if there is one, to another name, which counts for nothing but is kept.
func setAsideCheckpoint(_ path: String) throws(CheckpointError) {
  guard fileExists(path) else { return }
  var number = 1
  while fileExists("\(path).replaced-\(number)") { number += 1 }
  try CheckpointError.files { () throws(FileError) in try moveFile(path, to: "\(path).replaced-\(number)") }
}
