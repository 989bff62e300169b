import DurableFiles

/// The checkpoints of one run.
public struct CheckpointStore: Sendable {
  /// The folder that holds them.
  public let path: String

  public init(path: String) { self.path = path }

  /// The checkpoints of the run in the folder `run`, which need not be held.
  ///
  /// - Throws: `foreignFolder`, `noRun`.
  public init(run: String) throws(RunFolderError) {
    if try RunDirectory.identify(run) == nil { throw .noRun(path: run) }
    path = run + "/checkpoints"
  }

  /// One checkpoint, not yet looked into.
  public struct Item: Equatable, Sendable {
    public let step: Int
    public let path: String

    /// Checks sizes, hashes, and that it is of the step that its name says.
    ///
    /// - Parameter touch: called on the way, as a sign of life.
    /// - Throws: `damagedCheckpoint`; `newerFormat` and `checkpointNotReadable`, which are no damage.
    /// - Cost: reads and hashes all of it.
    public func verify(touch: () -> Void = {}) throws(CheckpointError) {
      try CheckpointStore.verify(path, touch: touch)
      let found: Int
      do throws(CheckpointError) { found = try Checkpoint(path: path).state.step } catch {
        throw error.inCheckpoint(path, file: CheckpointDraft.stateFile)
      }
      if found != step {
        throw .damagedCheckpoint(
          path: path, file: CheckpointDraft.stateFile,
          problem: "it is of step \(found), not of the one in its name")
      }
    }
  }

  /// The checkpoints under their final names, oldest first. Hidden, unfinished ones do not count.
  public func list() throws(CheckpointError) -> [Item] {
    var items: [Item] = []
    for name in try CheckpointError.files({ () throws(FileError) in try folderContents(path) }) {
      if let step = Int(name.dropFirst(5)), step >= 0, name == checkpointName(step: step) {
        items.append(Item(step: step, path: path + "/" + name))
      }
    }
    return items.sorted { $0.step < $1.step }
  }

  /// What a look at all checkpoints found: a line each, the damaged ones, and the first error that is no damage.
  public struct Report {
    public var lines: [String] = []
    public var damaged = 0
    public var failure: CheckpointError?
    /// All were looked at, and none is damaged.
    public var areWhole: Bool { damaged == 0 && failure == nil }

    fileprivate mutating func note(_ error: CheckpointError, _ line: String) {
      lines.append(line)
      if error.isDamage { damaged += 1 } else { failure = failure ?? error }
    }
  }

  /// One line a checkpoint: step, ranks that wrote it, size, folder. Only what can be had without reading the tensors.
  public func summaries() throws(CheckpointError) -> Report {
    var report = Report()
    for item in try list() {
      do throws(CheckpointError) {
        let manifest = try CheckpointManifest(checkpoint: item.path)
        try manifest.verifySizes(checkpoint: item.path)
        let state = try Checkpoint(path: item.path).state
        let megabytes = Double(manifest.files.reduce(0) { $0 + $1.size } / 10_000) / 100
        report.lines.append(
          "step \(item.step): written by \(state.worldSize) rank(s), \(megabytes) MB, \(item.path)")
      } catch { report.note(error, "step \(item.step): \(error)") }
    }
    return report
  }

  /// Checks every checkpoint of the run.
  ///
  /// - Cost: reads and hashes all of them.
  public func verifyAll() throws(CheckpointError) -> Report {
    var report = Report()
    for item in try list() {
      do throws(CheckpointError) {
        try item.verify()
        report.lines.append("\(item.path): whole")
      } catch { report.note(error, "\(error)") }
    }
    return report
  }

  /// Checks sizes and hashes of the checkpoint in the folder `path` of any run.
  ///
  /// - Parameter touch: called on the way, as a sign of life.
  /// - Throws: `damagedCheckpoint` naming the first bad file and its byte range; `newerFormat` and `checkpointNotReadable`,
  ///   which are no damage.
  /// - Cost: reads and hashes all of it.
  public static func verify(_ path: String, touch: () -> Void = {}) throws(CheckpointError) {
    try CheckpointManifest.verify(checkpoint: path, touch: touch)
  }

  /// The newest checkpoint that is whole; nil if the run has none yet. Damaged ones are reported and left alone.
  ///
  /// - Parameters:
  ///   - isLeft: of which steps checkpoints do not count, since the run has left their course.
  ///   - touch: called on the way, as a sign of life.
  ///   - report: receives one line for each checkpoint that is skipped.
  /// - Throws: `noValidCheckpoint` if there are checkpoints and none is whole; `newerFormat` and `checkpointNotReadable` for
  ///   a newer one that is not damaged, as far as can be told: the run must not go back behind it.
  public func newestValid(
    isLeft: (Int) -> Bool = { _ in false }, touch: () -> Void = {}, report: (String) -> Void
  ) throws(CheckpointError) -> Item? {
    var damage: [String] = []
    for item in try list().reversed() {
      if isLeft(item.step) {
        report("skipped: \(item.path) is of a course that the run has left")
        continue
      }
      do throws(CheckpointError) {
        try item.verify(touch: touch)
        return item
      } catch {
        guard case .damagedCheckpoint = error else { throw error }
        damage.append(error.description)
        report("skipped: \(error.description)")
      }
    }
    if !damage.isEmpty { throw .noValidCheckpoint(path: path, damage: damage) }
    return nil
  }

  /// Removes checkpoints that are no longer wanted: keeps the newest `keepLast` (at least two) whole ones, every one whose
  /// step is a multiple of `keepEvery`, and that of step `best`. Damaged ones do not count and are never removed.
  ///
  /// - Returns: the steps removed.
  /// - Throws: `newerFormat`, `checkpointNotReadable`; nothing is removed then.
  /// - Cost: reads and hashes all checkpoints.
  @discardableResult
  public func prune(
    keepLast: Int, keepEvery: Int? = nil, best: Int? = nil
  ) throws(CheckpointError) -> [Int] {
    try prune(keepLast: keepLast, keepEvery: keepEvery, best: best) { item throws(CheckpointError) in
      try Self.isWhole(item)
    }
  }

  /// The same, with what is whole told by `isWhole`.
  func prune(
    keepLast: Int, keepEvery: Int?, best: Int?, isWhole: (Item) throws(CheckpointError) -> Bool
  ) throws(CheckpointError) -> [Int] {
    var unwanted: [Item] = []
    var kept = 0
    for item in try list().reversed() where try isWhole(item) {
      if kept < max(2, keepLast) {
        kept += 1
      } else if item.step != best, keepEvery.map({ item.step % $0 != 0 }) ?? true {
        unwanted.append(item)
      }
    }
    for item in unwanted { try remove(item) }
    return unwanted.map(\.step).reversed()
  }

  /// Whether all files are as the manifest says; with `sizesOnly` only their sizes are looked at.
  ///
  /// - Throws: `newerFormat`, `checkpointNotReadable`.
  static func isWhole(
    _ item: Item, sizesOnly: Bool = false, touch: () -> Void = {}
  ) throws(CheckpointError) -> Bool {
    do throws(CheckpointError) {
      if sizesOnly {
        try CheckpointManifest(checkpoint: item.path).verifySizes(checkpoint: item.path)
      } else {
        try item.verify(touch: touch)
      }
      return true
    } catch {
      guard case .damagedCheckpoint = error else { throw error }
      return false
    }
  }

  /// Sets aside what a run that goes on from `step` does again: all checkpoints of later steps. They are kept, under names
  /// that do not count, so that the newest one is always of the run's present course.
  ///
  /// - Returns: the steps of those set aside.
  public func setAside(after step: Int) throws(CheckpointError) -> [Int] {
    let later = try list().filter { $0.step > step }
    for item in later { try setAsideCheckpoint(item.path) }
    if !later.isEmpty { try CheckpointError.files { () throws(FileError) in try syncFolder(path) } }
    return later.map(\.step)
  }

  /// Hidden first, so that a half-removed checkpoint never looks like one.
  private func remove(_ item: Item) throws(CheckpointError) {
    let hidden = path + "/." + checkpointName(step: item.step) + ".removed"
    try CheckpointError.files { () throws(FileError) in
      try removeFolder(hidden)
      try moveFile(item.path, to: hidden)
      try removeFolder(hidden)
    }
  }

  /// Removes the hidden folders and files that a dead job left. Only the holder of the run's lock may call it.
  public func removeAbandoned() throws(FileError) {
    for name in try folderContents(path) {
      if name.hasPrefix(".step-"), name.hasSuffix(".partial") || name.hasSuffix(".removed") {
        try removeFolder(path + "/" + name)
      }
    }
    try removeTemporaries(of: ["latest"], in: path)
  }
}
