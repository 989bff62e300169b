import DurableFiles

/// The checkpoints of one run.
public struct CheckpointStore: Sendable {
  /// The folder that holds them.
  public let path: String

  public init(path: String) { self.path = path }

  /// The checkpoints of the run in the folder `run`, which need not be held.
  ///
  /// - Throws: `foreignFolder`, `noRun`.
  public init(run: String) throws(CoordinatorError) {
    if try RunDirectory.identify(run) == nil { throw .noRun(path: run) }
    path = run + "/checkpoints"
  }

  /// One checkpoint, not yet looked into.
  public struct Item: Equatable, Sendable {
    public let step: Int
    public let path: String
  }

  /// The checkpoints under their final names, oldest first. Hidden, unfinished ones do not count.
  public func list() throws(CoordinatorError) -> [Item] {
    var items: [Item] = []
    for name in try files({ () throws(FileError) in try folderContents(path) }) {
      if let step = Int(name.dropFirst(5)), step >= 0, name == checkpointName(step: step) {
        items.append(Item(step: step, path: path + "/" + name))
      }
    }
    return items.sorted { $0.step < $1.step }
  }

  /// One line a checkpoint: step, ranks that wrote it, size, folder. Only what can be had without reading the tensors.
  public func summaries() throws(CoordinatorError) -> [String] {
    try list().map { item throws(CoordinatorError) in
      do throws(CoordinatorError) {
        let manifest = try CheckpointManifest(checkpoint: item.path)
        try manifest.verifySizes(checkpoint: item.path)
        let state = try Checkpoint(path: item.path).state
        let megabytes = Double(manifest.files.reduce(0) { $0 + $1.size } / 10_000) / 100
        return "step \(item.step): written by \(state.worldSize) rank(s), \(megabytes) MB, \(item.path)"
      } catch { return "step \(item.step): \(error)" }
    }
  }

  /// Checks every checkpoint of the run, and returns one line each and whether all are whole.
  ///
  /// - Cost: reads and hashes all of them.
  public func verifyAll() throws(CoordinatorError) -> (lines: [String], areWhole: Bool) {
    var areWhole = true
    let lines = try list().map { item throws(CoordinatorError) in
      do throws(CoordinatorError) {
        try Self.verify(item.path)
        return "\(item.path): whole"
      } catch {
        areWhole = false
        return "\(error)"
      }
    }
    return (lines, areWhole)
  }

  /// Checks sizes and hashes of the checkpoint in the folder `path` of any run.
  ///
  /// - Throws: `damagedCheckpoint` naming the first bad file and its byte range.
  /// - Cost: reads and hashes all of it.
  public static func verify(_ path: String) throws(CoordinatorError) {
    try CheckpointManifest.verify(checkpoint: path)
  }

  /// The newest checkpoint that is whole; nil if the run has none yet. Damaged ones are reported and left alone.
  ///
  /// - Parameter report: receives one line for each damaged checkpoint that is skipped.
  /// - Throws: `noValidCheckpoint` if there are checkpoints and none is whole.
  public func newestValid(report: (String) -> Void) throws(CoordinatorError) -> Item? {
    var damage: [String] = []
    for item in try list().reversed() {
      do throws(CoordinatorError) {
        try Self.verify(item.path)
        return item
      } catch {
        damage.append(error.description)
        report("skipped: \(error.description)")
      }
    }
    if !damage.isEmpty { throw .noValidCheckpoint(path: path, damage: damage) }
    return nil
  }

  /// Removes checkpoints that are no longer wanted: keeps the newest `keepLast` (at least two) whole ones and every one
  /// whose step is a multiple of `keepEvery`. Damaged ones do not count and are never removed.
  ///
  /// - Returns: the steps removed.
  /// - Cost: reads and hashes all checkpoints.
  @discardableResult
  public func prune(keepLast: Int, keepEvery: Int? = nil) throws(CoordinatorError) -> [Int] {
    try prune(keepLast: keepLast, keepEvery: keepEvery) { Self.isWhole($0) }
  }

  /// The same, with what is whole told by `isWhole`.
  func prune(
    keepLast: Int, keepEvery: Int?, isWhole: (Item) -> Bool
  ) throws(CoordinatorError) -> [Int] {
    var removed: [Int] = []
    var kept = 0
    for item in try list().reversed() where isWhole(item) {
      if kept < max(2, keepLast) {
        kept += 1
      } else if keepEvery.map({ item.step % $0 != 0 }) ?? true {
        try remove(item)
        removed.append(item.step)
      }
    }
    return removed.reversed()
  }

  /// Whether all files are as the manifest says; with `sizesOnly` only their sizes are looked at.
  static func isWhole(_ item: Item, sizesOnly: Bool = false) -> Bool {
    do throws(CoordinatorError) {
      if sizesOnly {
        try CheckpointManifest(checkpoint: item.path).verifySizes(checkpoint: item.path)
      } else {
        try verify(item.path)
      }
      return true
    } catch { return false }
  }

  /// Sets aside what a run that goes on from `step` does again: all checkpoints of later steps. They are kept, under names
  /// that do not count, so that the newest one is always of the run's present course.
  ///
  /// - Returns: the steps of those set aside.
  public func setAside(after step: Int) throws(CoordinatorError) -> [Int] {
    let later = try list().filter { $0.step > step }
    for item in later { try setAsideCheckpoint(item.path) }
    if !later.isEmpty { try files { () throws(FileError) in try syncFolder(path) } }
    return later.map(\.step)
  }

  /// Hidden first, so that a half-removed checkpoint never looks like one.
  private func remove(_ item: Item) throws(CoordinatorError) {
    let hidden = path + "/." + checkpointName(step: item.step) + ".removed"
    try files { () throws(FileError) in
      try removeFolder(hidden)
      try moveFile(item.path, to: hidden)
      try removeFolder(hidden)
    }
  }

  /// Removes the hidden folders and files that a dead job left. Only the holder of the run's lock may call it.
  public func removeAbandoned() throws(CoordinatorError) {
    try files { () throws(FileError) in
      for name in try folderContents(path) {
        if name.hasPrefix(".step-"), name.hasSuffix(".partial") || name.hasSuffix(".removed") {
          try removeFolder(path + "/" + name)
        }
      }
      try removeTemporaries(of: ["latest"], in: path)
    }
  }
}
