import Collectives
import Coordinator
import Foundation
import Telemetry

/// The checkpoint that a run goes on from.
struct ChosenCheckpoint {
  /// Its folder.
  let path: String
  /// It is one of the run's own, not of another run.
  let isOwn: Bool

  /// Chosen and verified by rank 0, as `options.resume` says; nil starts from the beginning. Collective.
  ///
  /// - Throws: what keeps the run from going on, the same on all ranks.
  /// - Cost: reads and hashes the checkpoint, and each damaged one that is newer.
  static func find(
    _ options: PretrainOptions, journal: inout RunJournal?, progress: RankProgress, world: borrowing World
  ) throws -> ChosenCheckpoint? {
    var found: String?
    var reports: [String] = []
    try world.together {
      guard world.rank == 0 else { return }
      found = try choose(options, progress: progress) { reports.append($0) }
    }
    for report in reports { journal?.message(report) }
    let shared = try world.broadcast(Array((found ?? "").utf8), from: 0)
    if shared.isEmpty { return nil }
    let path = String(decoding: shared, as: UTF8.self)
    return ChosenCheckpoint(path: path, isOwn: isCheckpoint(path, ofRun: options.runDirectory))
  }

  private static func choose(
    _ options: PretrainOptions, progress: RankProgress, report: (String) -> Void
  ) throws -> String? {
    let own = CheckpointStore(path: options.runDirectory + "/checkpoints")
    switch options.resume {
    case .automatic: return try newest(of: own, run: options.runDirectory, progress.touch, report)
    case .never:
      if let last = try own.list().last {
        throw TrainingError.wouldOverwrite(run: options.runDirectory, step: last.step)
      }
      return nil
    case .latest:
      guard let path = try newest(of: own, run: options.runDirectory, progress.touch, report) else {
        throw CheckpointError.noCheckpoint(
          path: "latest", problem: "\(options.runDirectory) has no checkpoint yet")
      }
      return path
    case .checkpoint(let name):
      switch try CheckpointStore.resolve(name, run: options.runDirectory) {
      case .checkpoint(let path):
        try CheckpointStore.verify(path, touch: progress.touch)
        return path
      case .store(let store):
        guard let path = try newest(of: store, run: store.path + "/..", progress.touch, report) else {
          throw CheckpointError.noCheckpoint(path: name, problem: "\(store.path) holds none yet")
        }
        return path
      }
    }
  }

  /// The newest valid checkpoint of the run in the folder `run` on its present course.
  static func newest(
    of store: CheckpointStore, run: String, _ touch: () -> Void, _ report: (String) -> Void
  ) throws(CheckpointError) -> String? {
    // What cannot be read of the history says nothing; the audit tells of it.
    let events = (try? RunHistory(run: run).events()) ?? []
    let reached = (try? MetricsFile.lastStep(path: run + "/metrics.jsonl")) ?? nil
    return try store.newestValid(
      isLeft: { step in
        reached.map { RunHistory.hasLeft(step: step, events: events, reached: $0) } ?? false
      }, touch: touch, report: report)?.path
  }

  /// Whether the folder `path` is among the checkpoints of the run in the folder `run`, however they are written.
  private static func isCheckpoint(_ path: String, ofRun run: String) -> Bool {
    func folder(_ path: String) -> String {
      URL(fileURLWithPath: path).resolvingSymlinksInPath().standardizedFileURL.path
    }
    return folder(path).hasPrefix(folder(run) + "/checkpoints/")
  }
}
