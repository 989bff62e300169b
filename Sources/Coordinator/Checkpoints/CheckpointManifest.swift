import DurableFiles
import Foundation

/// `manifest.json` of a checkpoint: size and SHA-256 of every piece of every file. Written last, so that a checkpoint
/// with a manifest is complete, and any later damage shows.
struct CheckpointManifest: Codable, Equatable {
  static let currentVersion = 1
  static let fileName = "manifest.json"
  /// Bytes of a piece; the last of a file may be shorter.
  static let pieceSize = 16 << 20

  struct File: Codable, Equatable {
    let name: String
    let size: Int
    /// SHA-256 of each piece, hexadecimal.
    let pieces: [String]

    /// As many pieces as the size has.
    var isConsistent: Bool {
      size >= 0 && pieces.count == size / pieceSize + (size % pieceSize == 0 ? 0 : 1)
    }
  }

  let version: Int
  let pieceSize: Int
  let files: [File]
  /// SHA-256 of this manifest's own JSON with an empty digest.
  private(set) var digest: String

  init(files: [File]) {
    version = Self.currentVersion
    pieceSize = Self.pieceSize
    self.files = files
    digest = ""
    digest = ownDigest
  }

  private var ownDigest: String {
    var copy = self
    copy.digest = ""
    return SHA256.digest(encodeJSON(copy))
  }

  /// Reads and checks the manifest itself.
  ///
  /// - Throws: `damagedCheckpoint`, `newerFormat`, `checkpointNotReadable`.
  init(checkpoint: String) throws(CheckpointError) {
    let path = checkpoint + "/" + Self.fileName
    let bytes: [UInt8]
    do throws(CheckpointError) {
      bytes = try CheckpointError.readVersioned(path, known: Self.currentVersion)
      self = try CheckpointError.decodeJSON(CheckpointManifest.self, bytes, path: path)
    } catch {
      throw error.inCheckpoint(checkpoint, file: Self.fileName)
    }
    let names = [CheckpointTensors.modelFile, CheckpointTensors.optimizerFile, CheckpointDraft.stateFile]
    // Comparing the text too finds changes that the decoder does not see.
    if self.files.map(\.name) != names || !self.files.allSatisfy(\.isConsistent) || digest != ownDigest
      || bytes != encodeJSON(self) || pieceSize != Self.pieceSize
    {
      throw .damagedCheckpoint(
        path: checkpoint, file: Self.fileName, problem: "its own digest does not match")
    }
  }

  /// Compares every file of the checkpoint with the manifest.
  ///
  /// - Parameter touch: called after each piece, as a sign of life.
  /// - Throws: `damagedCheckpoint` with the first bad file and byte range; `newerFormat`, `checkpointNotReadable`.
  /// - Cost: reads and hashes all of it.
  static func verify(checkpoint: String, touch: () -> Void = {}) throws(CheckpointError) {
    let manifest = try CheckpointManifest(checkpoint: checkpoint)
    try manifest.verifySizes(checkpoint: checkpoint)
    for file in manifest.files {
      for (index, digest) in file.pieces.enumerated() {
        let piece = Piece(file: file.name, index: index, fileSize: file.size)
        touch()
        let found: String
        do throws(CheckpointError) { found = try piece.digest(in: checkpoint) } catch {
          throw error.inCheckpoint(checkpoint, file: file.name)
        }
        if found != digest {
          throw .damagedCheckpoint(
            path: checkpoint, file: file.name,
            problem: "bytes \(piece.range.lowerBound) to \(piece.range.upperBound) have changed")
        }
      }
    }
  }

  /// Compares only the sizes.
  ///
  /// - Throws: `damagedCheckpoint`, `checkpointNotReadable`.
  func verifySizes(checkpoint: String) throws(CheckpointError) {
    for file in files {
      var status = stat()
      if stat(checkpoint + "/" + file.name, &status) != 0 {
        let code = errno
        throw CheckpointError.file(
          .system(operation: "look at", path: checkpoint + "/" + file.name, code: code)
        ).inCheckpoint(checkpoint, file: file.name)
      }
      if Int(status.st_size) != file.size {
        throw .damagedCheckpoint(
          path: checkpoint, file: file.name, problem: "\(status.st_size) bytes instead of \(file.size)")
      }
    }
  }
}

/// One piece of one file of a checkpoint.
struct Piece: Hashable, Sendable {
  let file: String
  let index: Int
  let fileSize: Int

  /// Its bytes in the file.
  var range: Range<Int> {
    let start = index * CheckpointManifest.pieceSize
    return start..<min(fileSize, start + CheckpointManifest.pieceSize)
  }

  static func all(file: String, size: Int) -> [Piece] {
    (0..<(size + CheckpointManifest.pieceSize - 1) / CheckpointManifest.pieceSize).map {
      Piece(file: file, index: $0, fileSize: size)
    }
  }

  /// SHA-256 of what the file holds now. Read with pread, not mapped: a file cut off meanwhile is an error, not a crash.
  func digest(in checkpoint: String) throws(CheckpointError) -> String {
    let path = checkpoint + "/" + file
    FaultInjection.delay(before: "piece")
    if let code = FaultInjection.refusal(path) {
      throw .file(.system(operation: "read", path: path, code: code))
    }
    return try CheckpointError.files { () throws(FileError) in try FileAccess(reading: path).digest(range) }
  }
}
