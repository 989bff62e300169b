import BinaryModel
import Collectives
import Coordinator
import DenseProducts
import DurableFiles
import Foundation
import Kernels
import Planning
import RunSettings

/// Runs `bipft-pretrain` with its arguments parsed, on every rank.
///
/// - Returns: how the program is to end.
/// - Throws: `TrainingError`, whose `exitCode` says the same of a failure; when several ranks run, the same on all.
public func pretrain(options: PretrainOptions) throws(TrainingError) -> ExitCode {
  // From the first moment: a signal that comes while the ranks gather must not kill one.
  let launch = LaunchEnvironment(ProcessInfo.processInfo.environment)
  if !options.isDryRun { StopSignals.install(isAlone: !launch.isLaunched) }
  let exitCode: @Sendable (any Error) -> Int32 = { TrainingError.exitCode(of: $0).rawValue }
  do {
    return try World.run(exitCode: exitCode) { world in try run(options, world: world) }
  } catch let error as TrainingError {
    throw error
  } catch WorldError.agreedFailure(let code, let message, _) {
    throw .agreed(code: code, message: message)
  } catch {
    throw .agreed(code: TrainingError.exitCode(of: error).rawValue, message: "\(error)")
  }
}

private func run(_ options: PretrainOptions, world: borrowing World) throws -> ExitCode {
  let start = ContinuousClock.now
  try world.together { try options.checkAllowedChanges() }
  let configuration = try shareConfiguration(options, world: world)
  var inputs = try world.together {
    try InstructionSet.checkEnvironment()
    try RunPlan.checkWorldSize(options.plannedRanks ?? world.size, configuration)
    return try RunInputs(configuration)
  }
  if options.isDryRun {
    let plan = try world.together {
      try RunPlan(
        configuration, vocabularySize: inputs.corpus.vocabulary.count,
        trainingSamples: inputs.batches.schedule.sampleCount, ranks: options.plannedRanks ?? world.size)
    }
    if world.rank == 0 {
      print(configuration.canonicalText + "\n" + plan.text)
      if let estimate = options.estimate {
        print(
          StepTimeTable(
            configuration, vocabularySize: inputs.corpus.vocabulary.count,
            ranks: options.plannedRanks ?? world.size, estimate
          ).text)
      }
    }
    return .finished
  }
  useSingleThreadedBLAS()
  startThreads(configuration.threads ?? world.fairThreads)
  try inputs.readTeacherDigest(world: world)
  var notes = try compareRanks(options, inputs, world: world)
  MappedFile.reportFaults(
    speaker: "bipft-pretrain: rank \(world.rank) (\(world.hostName))", code: ExitCode.failed.rawValue)

  // Rank 0 keeps the journal; a failure to open it ends all ranks.
  var journal = try world.together { () throws -> RunJournal? in
    guard world.rank == 0 else { return nil }
    return try RunJournal(
      path: options.runDirectory, steps: configuration.training.steps, again: options.triesAgain)
  }
  let progress = RankProgress()
  let watchdog = configuration.hangTimeout == 0 ? nil : watch(options, configuration, progress, world: world)
  defer { watchdog?.stop() }
  var step = journal?.lastStep ?? 0
  do {
    notes += try checkRunFolder(options, inputs, world: world)
    return try train(
      inputs, options: options, notes: notes, journal: &journal, step: &step, start: start,
      progress: progress, world: world)
  } catch {
    journal?.fail(step: step, error)
    throw error
  }
}

private func watch(
  _ options: PretrainOptions, _ configuration: RunConfiguration, _ progress: RankProgress,
  world: borrowing World
) -> Watchdog {
  Watchdog(
    run: options.runDirectory, rank: world.rank, size: world.size, host: world.hostName,
    timeout: configuration.hangTimeout, progress: progress
  ) { _ in World.endJob(code: ExitCode.failed.rawValue) }
}

/// Rank 0 reads the file; the others take its word.
private func shareConfiguration(
  _ options: PretrainOptions, world: borrowing World
) throws -> RunConfiguration {
  let own = try world.together { () throws -> RunConfiguration? in
    world.rank == 0
      ? try RunConfiguration.load(file: options.configurationFile, overrides: options.overrides) : nil
  }
  let text = try world.broadcast(Array((own?.canonicalText ?? "").utf8), from: 0)
  return try own
    ?? RunConfiguration.parse(String(decoding: text, as: UTF8.self), file: options.configurationFile)
}

private func train(
  _ inputs: RunInputs, options: PretrainOptions, notes: [String], journal: inout RunJournal?, step: inout Int,
  start: ContinuousClock.Instant, progress: RankProgress, world: borrowing World
) throws -> ExitCode {
  let configuration = inputs.configuration
  let found = try ChosenCheckpoint.find(options, journal: &journal, progress: progress, world: world)
  let checkpoint = found?.path
  var run = try world.together {
    let teacher = try loadTeacher(inputs)
    return try PretrainingRun(inputs, teacher: teacher, progress: progress, world: world)
  }
  if let checkpoint {
    let allowed = Set(options.allowedChanges)
    try world.together { try run.restore(Checkpoint(path: checkpoint), allowing: allowed) }
    try run.publishParameters(world: world)
  } else {
    let notes = try world.together { try run.initialise(world: world) }
    for note in notes { journal?.message(note) }
    try run.shareParameters(world: world)
  }
  step = run.step
  // A checkpoint of another run does not save this one.
  let isOwn = found?.isOwn ?? false
  try world.together {
    try journal?.begin(
      step: step, isResumed: checkpoint != nil, foreign: isOwn ? nil : checkpoint, ranks: world.size,
      configuration: configuration.canonicalText, arithmetic: .current, before: run.restoredArithmetic)
  }
  for note in notes { journal?.message(note) }
  journal?.message(run.greeting(inputs, checkpoint: checkpoint, world: world))
  // Each rank reads its part of the shards once more, beside the training.
  inputs.corpus.verifyInBackground(part: world.rank, of: world.size)
  var loop = TrainingLoop(
    inputs, run: options.runDirectory, savedStep: isOwn ? step : nil, start: start, progress: progress)
  if checkpoint == nil { try loop.evaluate(&run, journal: &journal, world: world) }
  return try loop.run(&run, journal: &journal, step: &step, world: world)
}

private func loadTeacher(_ inputs: RunInputs) throws(TrainingError) -> Teacher? {
  guard let path = inputs.configuration.teacher else { return nil }
  let weights: TeacherWeights
  do throws(ModelError) {
    weights = try TeacherWeights(PretrainedWeights(path: path), configuration: inputs.layout.configuration)
  } catch {
    throw .module(error)
  }
  return Teacher(
    weights, configuration: inputs.layout.configuration, sequences: inputs.configuration.sliceSequences,
    length: inputs.configuration.data.sequenceLength)
}

extension PretrainingRun {
  /// What the user sees first.
  fileprivate func greeting(_ inputs: RunInputs, checkpoint: String?, world: borrowing World) -> String {
    let parameters = Double(inputs.layout.parameterCount) / 1e6
    let start = checkpoint.map { "going on from \($0)" } ?? "starting"
    return String(
      format: "%@: %d rank%@ of %d thread%@ (%@), %.1f M parameters, %d lanes, %d steps an epoch", start,
      world.size,
      world.size == 1 ? "" : "s", threadCount, threadCount == 1 ? "" : "s", InstructionSet.name, parameters,
      inputs.configuration.lanes, inputs.batches.schedule.stepsPerEpoch)
  }
}

extension World {
  /// This rank's share of the cores: those it is bound to, or an equal part of the host's.
  var fairThreads: Int {
    let all = ProcessInfo.processInfo.processorCount
    return processorCount < all ? max(1, processorCount) : max(1, all / localSize)
  }
}
