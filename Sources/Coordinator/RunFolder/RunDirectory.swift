import DurableFiles
import Foundation

/// The folder of one run, held by this process alone until the value is destroyed. One rank opens it for its world.
///
/// `lock` (who holds the run), `state.json`, `config.yaml`, `history.jsonl`, `progress/`, `checkpoints/`; the training loop
/// adds its metrics.
public struct RunDirectory: ~Copyable {
  public let path: String
  /// What the run was when it was opened; nil for a new one.
  public let previous: RunState?
  /// Its `state.json` was lost or damaged, and `previous` is made from what else is there.
  public let stateWasLost: Bool
  private let lockDescriptor: Int32

  public var checkpointsPath: String { path + "/checkpoints" }

  /// Creates or opens the run at `path`, takes its lock, and removes what a dead job left half-written.
  ///
  /// - Throws: `foreignFolder` if the folder holds something else, `runLocked` if another job has it, `newerFormat`,
  ///   `unusableFolder` if it cannot be made, written to or locked, `file` for what may pass.
  public init(path: String) throws(RunFolderError) {
    do throws(RunFolderError) { try self.init(opening: path) } catch { throw error.inRunFolder(path) }
  }

  private init(opening path: String) throws(RunFolderError) {
    try RunFolderError.files { () throws(FileError) in _ = try createFolders(path) }
    let found = try Self.look(path)
    let descriptor = try takeLock(path)
    do throws(RunFolderError) {
      try RunFolderError.files { () throws(FileError) in
        try createFolders(path + "/checkpoints")
        try removeTemporaries(of: ["state.json", "config.yaml", "metrics.prom"], in: path)
        try removeFolder(path + "/progress")
        try CheckpointStore(path: path + "/checkpoints").removeAbandoned()
      }
    } catch {
      close(descriptor)
      throw error
    }
    lockDescriptor = descriptor
    self.path = path
    previous = found?.state
    stateWasLost = found?.isLost ?? false
  }

  deinit { close(lockDescriptor) }

  /// Starts that may end without a new checkpoint before the run is not started any more.
  public static let startLimit = 3

  /// The job before did not come to its end: it was killed, or its host failed. Nobody else can have the run now.
  public var wasLost: Bool { previous?.status == .running }

  /// Counts a start: writes the state `running` with the step the last job came to.
  ///
  /// - Parameter again: forgets earlier starts that brought no new checkpoint.
  /// - Throws: `noProgress` if there were `startLimit` of them; the state stays as it is.
  @discardableResult
  public func begin(again: Bool = false) throws(RunFolderError) -> RunState {
    let fruitless = again ? 0 : previous?.startsWithoutCheckpoint ?? 0
    if let previous, fruitless >= Self.startLimit {
      throw .noProgress(
        path: path, starts: fruitless, step: previous.step, status: previous.status.rawValue,
        reason: previous.reason)
    }
    return try write(.running, step: previous?.step ?? 0, reason: "", startsWithoutCheckpoint: fruitless + 1)
  }

  /// Writes the state of this start.
  ///
  /// - Parameter startsWithoutCheckpoint: nil counts this one to those before.
  @discardableResult
  public func record(
    _ status: RunState.Status, step: Int, reason: String = "", startsWithoutCheckpoint: Int? = nil
  ) throws(RunFolderError) -> RunState {
    try write(
      status, step: step, reason: reason,
      startsWithoutCheckpoint: startsWithoutCheckpoint ?? (previous?.startsWithoutCheckpoint ?? 0) + 1)
  }

  /// Keeps the resolved configuration beside the results, as `config.yaml`. Call it after `begin`, whose state marks the
  /// folder as a run.
  public func writeConfiguration(_ text: String) throws(RunFolderError) {
    try write(text, to: "config.yaml")
  }

  /// Keeps a text of the run's objective in the folder, as `name`. Call it after `begin` too.
  public func write(_ text: String, to name: String) throws(RunFolderError) {
    try RunFolderError.files { () throws(FileError) in
      try replaceFile(path + "/" + name, with: Array(text.utf8))
    }
  }

  private func write(
    _ status: RunState.Status, step: Int, reason: String, startsWithoutCheckpoint: Int
  ) throws(RunFolderError) -> RunState {
    let state = RunState(
      status: status, step: step, reason: reason, attempt: (previous?.attempt ?? 0) + 1,
      startsWithoutCheckpoint: startsWithoutCheckpoint, time: Date())
    try Self.write(state, run: path)
    return state
  }

  private static func write(_ state: RunState, run: String) throws(RunFolderError) {
    try RunFolderError.files { () throws(FileError) in
      try replaceFile(run + "/state.json", with: encodeJSON(state))
    }
  }

  /// Writes the state `hung` into the run at `path`, whose job is stuck; any of its ranks may call it.
  static func recordHang(_ path: String, step: Int, reason: String) throws(RunFolderError) {
    guard var state = try identify(path) else { throw .noRun(path: path) }
    state.status = .hung
    state.step = step
    state.reason = reason
    state.time = Date().formatted(.iso8601)
    try write(state, run: path)
  }

  /// What became of the run at `path`, in a line; nil for an empty folder.
  ///
  /// - Throws: as `identify`.
  public static func summary(_ path: String) throws(RunFolderError) -> String? {
    guard let state = try identify(path) else { return nil }
    let reason = state.reason.isEmpty ? "" : ": \(state.reason)"
    if state.status != .running { return "\(state.status.rawValue) at step \(state.step)\(reason)" }
    if let holder = try holder(of: path) { return "running (\(holder))" }
    return
      "its last job ended without a word after step \(state.step) or later (killed, or its host failed); start it "
      + "again to go on from the newest checkpoint"
  }

  /// Who has the run at `path`; nil if nobody does.
  static func holder(of path: String) throws(RunFolderError) -> String? {
    let file = path + "/lock"
    let descriptor = open(file, O_RDONLY | O_CLOEXEC)
    if descriptor < 0 {
      if errno == ENOENT { return nil }
      throw .file(.system(operation: "open", path: file, code: errno))
    }
    defer { close(descriptor) }
    // For a moment only; `takeLock` waits longer than that.
    if flock(descriptor, LOCK_SH | LOCK_NB) == 0 { return nil }
    let code = errno
    if code != EWOULDBLOCK { throw unlockable(path, code) }
    return holderText(file)
  }

  /// The state of the run at `path`, without taking it; nil for an empty folder or one where a start died early.
  ///
  /// - Throws: `foreignFolder` for a folder with other contents.
  public static func identify(_ path: String) throws(RunFolderError) -> RunState? { try look(path)?.state }

  /// The same, and whether its `state.json` is lost.
  private static func look(_ path: String) throws(RunFolderError) -> (state: RunState, isLost: Bool)? {
    let names = try RunFolderError.files { () throws(FileError) in try folderContents(path) }
    if names.contains("state.json") {
      let file = path + "/state.json"
      let bytes = try RunFolderError.files { () throws(FileError) in try readFile(file) }
      if let state = try? RunFolderError.decodeJSON(RunState.self, bytes, path: file),
        state.format == RunState.format,
        state.version <= RunState.currentVersion, state.isPlausible
      {
        return (state, false)
      }
      if let version = RunState.version(bytes), version > RunState.currentVersion {
        throw .newerFormat(path: file, version: version, known: RunState.currentVersion)
      }
      guard !RunState.isForeign(bytes), let state = recovered(path) else {
        throw .foreignFolder(path: path, found: "a state.json that is not of a run")
      }
      return (state, true)
    }
    if let state = recovered(path) { return (state, true) }
    // A start that died before its first state leaves no more than these.
    let early: Set = ["lock", "checkpoints"]
    if let found = names.first(where: { !early.contains($0) && !$0.hasPrefix(".state.json.") }) {
      throw .foreignFolder(path: path, found: found)
    }
    return nil
  }
}

extension RunDirectory {
  /// The state of a run whose `state.json` is lost, from what else is there; nil if that is nothing of a run.
  private static func recovered(_ path: String) -> RunState? {
    let newest = (try? CheckpointStore(path: path + "/checkpoints").list())?.last?.step
    let starts = ((try? RunHistory(run: path).events()) ?? []).count { $0.event == .start }
    if newest == nil && starts == 0 { return nil }
    return RunState(
      status: .failed, step: newest ?? 0, reason: "state.json was lost", attempt: starts,
      startsWithoutCheckpoint: 0, time: Date())
  }
}

/// The error of a folder whose file system has no locks.
private func unlockable(_ path: String, _ code: Int32) -> RunFolderError {
  let error = RunFolderError.file(.system(operation: "lock", path: path + "/lock", code: code))
  guard [ENOLCK, ENOSYS, EOPNOTSUPP, EINVAL].contains(code) else { return error }
  return .unusableFolder(
    path: path,
    problem:
      "\(error), since its file system lets no process hold a lock (Lustre: mount it with -o flock; NFS: version 4, "
      + "or its lock service)", code: code)
}

/// What the holder of a lock wrote into its file.
private func holderText(_ file: String) -> String {
  let text = String(decoding: (try? readFile(file)) ?? [], as: UTF8.self)
  let holder = text.trimmingCharacters(in: .whitespacesAndNewlines)
  return holder.isEmpty ? "just starting" : holder
}

/// Locks `path`/lock for as long as the returned descriptor is open; the kernel frees it when the process ends.
private func takeLock(_ path: String) throws(RunFolderError) -> Int32 {
  let file = path + "/lock"
  let descriptor = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
  if descriptor < 0 { throw .file(.system(operation: "create", path: file, code: errno)) }
  // Somebody who only looks whether the run is in use has the lock for a moment.
  var tries = 5
  while true {
    let refusal = FaultInjection.refusal("lock")
    if refusal == nil && flock(descriptor, LOCK_EX | LOCK_NB) == 0 { break }
    let code = refusal ?? errno
    tries -= 1
    if code == EWOULDBLOCK && tries > 0 {
      usleep(20_000)
      continue
    }
    close(descriptor)
    if code == EWOULDBLOCK { throw .runLocked(path: path, holder: holderText(file)) }
    throw unlockable(path, code)
  }
  let holder =
    "host \(ProcessInfo.processInfo.hostName), process \(getpid()), since \(Date().formatted(.iso8601))\n"
  ftruncate(descriptor, 0)
  do throws(FileError) { try writeAll(Array(holder.utf8), to: descriptor, at: 0, path: file) } catch {
    close(descriptor)
    throw .file(error)
  }
  return descriptor
}
