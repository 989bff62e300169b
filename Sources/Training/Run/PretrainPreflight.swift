import BinaryModel
import Collectives
import Coordinator
import Foundation
import Kernels
import RunSettings

/// Compares what the ranks are and where they run. Collective.
///
/// - Returns: what to tell the user.
/// - Throws: what keeps them from computing the same bits, the same on all ranks.
func compareRanks<Goal: Objective>(
  _ options: PretrainOptions, _ inputs: RunInputs<Goal>, world: borrowing World
) throws -> [String] {
  let facts = try world.together {
    RankFacts(
      rank: world.rank, host: world.hostName, threads: threadCount, cores: world.processors,
      hostCores: ProcessInfo.processInfo.processorCount, executable: try digestOfProgram(),
      arguments: "\(options)", inputs: inputs.digest, teacher: inputs.teacherDigest ?? "",
      kernels: InstructionSet.name)
  }
  let preflight = try Preflight.compare(facts, world: world)
  return ["preflight: \(preflight.summary)"] + preflight.warnings.map { "warning: \($0)" }
}

/// Looks at the run's folder before a run starts. Collective.
///
/// - Returns: what to tell the user.
/// - Throws: what keeps the run from saving there, the same on all ranks.
func checkRunFolder<Goal: Objective>(
  _ options: PretrainOptions, _ inputs: RunInputs<Goal>, world: borrowing World
) throws -> [String] {
  let folder = RunFolderCheck(options.runDirectory)
  try folder.checkShared(world: world)
  return try world.together { () throws -> [String] in
    guard world.rank == 0 else { return [] }
    return try checkRoom(folder, options, inputs).map { "warning: \($0)" }
  }
}

/// A run that has a checkpoint goes on without room for another: with room again it saves as ever.
private func checkRoom<Goal: Objective>(
  _ folder: RunFolderCheck, _ options: PretrainOptions, _ inputs: RunInputs<Goal>
) throws -> [String] {
  let present = try CheckpointStore(path: options.runDirectory + "/checkpoints").list().count
  let wanted = inputs.configuration.checkpointsAtOnce
  let bytes = inputs.tensors.byteCount
  guard let shortage = try folder.shortage(checkpoints: max(1, wanted - present), bytes: bytes) else {
    return []
  }
  if present == 0 { throw shortage }
  return ["\(shortage)"]
}

extension RunConfiguration {
  /// The most checkpoints that are there at one time, but for those of `checkpoint.keep_every`: those that stay, and the one
  /// being written.
  fileprivate var checkpointsAtOnce: Int {
    let every = checkpoint.keepBest ? min(checkpoint.every, evaluation.every) : checkpoint.every
    let all = (training.steps + every - 1) / every
    return min(max(2, checkpoint.keep) + (checkpoint.keepBest ? 2 : 1), max(1, all))
  }
}

extension Arithmetic {
  /// Of this process.
  static var current: Arithmetic { Arithmetic(kernels: InstructionSet.name) }
}

extension RunInputs {
  /// What this rank reads: corpus, vocabulary and the order of the samples.
  fileprivate var digest: String {
    [corpusDigest, vocabularyDigest, batches.schedule.digest].joined(separator: " ")
  }
}
