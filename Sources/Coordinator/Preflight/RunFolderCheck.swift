import Collectives
import DurableFiles
import Foundation

/// Looks whether the folder of a run can do what checkpoints ask of it, by doing it. What it writes is gone afterwards.
public struct RunFolderCheck: Sendable {
  private let path: String
  private var probe: String { path + "/.preflight" }
  private var renamed: String { path + "/.preflight-renamed" }
  private var ballast: String { path + "/.preflight-room" }

  /// - Parameter path: the folder of a run that rank 0 has opened.
  public init(_ path: String) { self.path = path }

  /// All ranks write into one file, which is synced and renamed, and read it: one folder on all hosts. Collective.
  ///
  /// - Throws: `PreflightError.notShared`, or `.file` for what the file system refuses; the same on all ranks.
  public func checkShared(world: borrowing World) throws {
    // What an earlier start has left must not pass for this one's.
    let own = world.rank == 0 ? Array(UUID().uuidString.utf8) : []
    let token = try world.broadcast(own, from: 0)
    let (rank, size, host) = (world.rank, world.size, world.hostName)
    defer { if rank == 0 { clean() } }
    try world.together { if rank == 0 { try begin(size: size * token.count) } }
    try world.together {
      if try !write(token, at: rank * token.count) { throw notShared(rank, host) }
    }
    try world.together { if rank == 0 { try renameProbe() } }
    // The file that rank 0 has renamed, then all that is in it.
    try world.together { if try !renamedBytes().starts(with: token) { throw notShared(rank, host) } }
    let whole = Array(repeatElement(token, count: size).joined())
    try world.together { if try renamedBytes() != whole { throw lostWrites } }
  }

  private func clean() {
    unlink(probe)
    unlink(renamed)
  }

  private func begin(size: Int) throws(PreflightError) {
    clean()
    try PreflightError.files { () throws(FileError) in _ = try FileAccess(creating: probe, size: size) }
  }

  /// False if there is no such file here.
  private func write(_ token: [UInt8], at place: Int) throws(PreflightError) -> Bool {
    if access(probe, F_OK) != 0 { return false }
    try PreflightError.files { () throws(FileError) in
      let file = try FileAccess(updating: probe)
      try file.write(token, at: place)
      try file.sync()
    }
    return true
  }

  private func renameProbe() throws(PreflightError) {
    try PreflightError.files { () throws(FileError) in
      try moveFile(probe, to: renamed)
      try syncFolder(path)
    }
  }

  /// Nothing if there is no such file here.
  private func renamedBytes() throws(PreflightError) -> [UInt8] {
    try PreflightError.files { () throws(FileError) in try readFileIfThere(renamed) } ?? []
  }

  private var lostWrites: PreflightError {
    .unreadable(
      path: path,
      problem: "its file system loses what several ranks write into one file; choose another --run-dir")
  }

  private func notShared(_ rank: Int, _ host: String) -> PreflightError {
    .notShared(path: path, rank: rank, host: host)
  }

  /// Reserves room for `count` checkpoints of `bytes` each, and gives it back. One rank.
  ///
  /// - Returns: `PreflightError.noRoom` if there is none.
  public func shortage(checkpoints count: Int, bytes: Int) throws(PreflightError) -> PreflightError? {
    let descriptor = open(ballast, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    if descriptor < 0 { throw .file(.system(operation: "create", path: ballast, code: errno)) }
    defer {
      close(descriptor)
      unlink(ballast)
    }
    let (product, isTooLarge) = count.multipliedReportingOverflow(by: bytes)
    let all = isTooLarge ? Int.max : product
    let code = reserveRoom(all, descriptor: descriptor)
    if code == 0 { return nil }
    return .noRoom(path: path, checkpoints: count, bytes: all, reason: systemReason(code))
  }
}
