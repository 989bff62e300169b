import Collectives
import Foundation
import RunSettings

/// Runs `bipft finetune` with its arguments parsed, on every rank: its runs one after the other, then on the first rank their
/// summary and the predictions of each.
///
/// - Returns: how the program is to end. Where a run is stopped or fails, those after it do not start; the same arguments go
///   on where it was, the runs before it being finished.
/// - Throws: `TrainingError`; when several ranks run, the same on all but for what the first rank does after the runs.
public func finetune(options: FinetuneOptions) throws(TrainingError) -> ExitCode {
  var runs: FinetuneRuns?
  let code = try inWorld(isDryRun: options.isDryRun) { start, world in
    let all = try shareRuns(options, world: world)
    runs = all
    for (index, seed) in all.seeds.enumerated() {
      if world.rank == 0, options.seeds != nil {
        let text = "seed \(seed), run \(index + 1) of \(all.seeds.count), in \(all.runDirectory(seed: seed))"
        LaunchedRank.own.complain(text, as: "bipft")
      }
      let code = try run(all.options(seed: seed), start: start, world: world) {
        try all.configuration(seed: seed)
      }
      // One plan is that of all.
      if code != .finished || options.isDryRun { return code }
    }
    return .finished
  }
  guard code == .finished, LaunchedRank.own.speaks, !options.isDryRun, let runs else { return code }
  try conclude(runs, options)
  return code
}

/// Rank 0 reads the configuration file; the others take its word.
private func shareRuns(_ options: FinetuneOptions, world: borrowing World) throws -> FinetuneRuns {
  guard let file = options.configurationFile else {
    return try world.together { try FinetuneRuns(options, text: nil) }
  }
  let own = try world.together { world.rank == 0 ? try RunConfiguration.text(ofFile: file) : "" }
  let text = String(decoding: try world.broadcast(Array(own.utf8), from: 0), as: UTF8.self)
  return try world.together { try FinetuneRuns(options, text: text) }
}

/// What comes after the runs.
private func conclude(_ runs: FinetuneRuns, _ options: FinetuneOptions) throws(TrainingError) {
  let folders = runs.seeds.map { (seed: $0, run: runs.runDirectory(seed: $0)) }
  let summary = try FinetuneSummary(folders)
  print(summary.text)
  if options.seeds != nil { print("summary: \(try summary.write(to: runs.folder))") }
  for (_, run) in folders {
    for file in options.predict {
      let predictions = try TaskPredictions(run: run, options.choice)
      let path = try predictions.write(file, withProbabilities: options.givesProbabilities)
      print("predictions of \(file), by \(predictions.checkpoint): \(path)")
    }
  }
}
