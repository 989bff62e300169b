import BinaryModel
import Collectives
import Coordinator
import Corpora
import DurableFiles
import Foundation
import Kernels
import LeastSquares
import Planning
import RunSettings

/// Runs `bipft-pretrain` with its arguments parsed, on every rank.
///
/// - Returns: how the program is to end.
/// - Throws: `TrainingError`, whose `exitCode` says the same of a failure; when several ranks run, the same on all.
public func pretrain(options: PretrainOptions) throws(TrainingError) -> ExitCode {
  try inWorld(isDryRun: options.isDryRun) { start, world in
    try run(options, start: start, world: world) { try loadConfiguration(options) }
  }
}

/// Runs `body` in the world of this process, which is made once: a job of one run, or of several one after the other.
///
/// - Parameters:
///   - isDryRun: a stop signal ends the process, which has nothing to save.
///   - body: is given when the job started.
func inWorld(
  isDryRun: Bool, _ body: (_ start: ContinuousClock.Instant, _ world: borrowing World) throws -> ExitCode
) throws(TrainingError) -> ExitCode {
  // From the first moment: a signal that comes while the ranks gather must not kill one.
  let launch = LaunchEnvironment(ProcessInfo.processInfo.environment)
  if !isDryRun { StopSignals.install(isAlone: !launch.isLaunched) }
  let exitCode: @Sendable (any Error) -> Int32 = { TrainingError.exitCode(of: $0).rawValue }
  do {
    return try World.run(exitCode: exitCode) { world in try body(.now, world) }
  } catch let error as TrainingError {
    throw error
  } catch WorldError.agreedFailure(let code, let message, _) {
    throw .agreed(code: code, message: message)
  } catch {
    throw .agreed(code: TrainingError.exitCode(of: error).rawValue, message: "\(error)")
  }
}

/// One run, with the configuration that `configuration` makes on the first rank.
func run(
  _ options: PretrainOptions, start: ContinuousClock.Instant, world: borrowing World,
  configuration: () throws -> RunConfiguration
) throws -> ExitCode {
  try world.together { try options.checkAllowedChanges() }
  let configuration = try shareConfiguration(options, configuration, world: world)
  try world.together {
    try InstructionSet.checkEnvironment()
    try RunPlan.checkWorldSize(options.plannedRanks ?? world.size, configuration)
    if world.rank == 0 { try makeDemoCorpus(options, configuration) }
  }
  let inputs = try world.together { try Objectives.inputs(configuration) }
  guard options.isDryRun else { return try inputs.train(options, start: start, world: world) }
  let ranks = options.plannedRanks ?? world.size
  let hosts = HostLayout(ranks: ranks, perHost: options.ranksPerHost ?? ranks)
  let plan = try world.together { try inputs.plan(on: hosts) }
  if world.rank == 0 {
    print(configuration.canonicalText + "\n" + plan.text)
    if let estimate = options.estimate {
      let table = StepTimeTable(
        configuration, vocabularySize: inputs.vocabularySize, hosts: hosts, estimate)
      print(table.text)
    }
  }
  return .finished
}

extension RunInputs: TrainableInputs {
  public var schedule: Schedule { batches.schedule }
  public func makeCoverage() -> (any SampleCoverage)? { batches.makeCoverage() }
  public var vocabularySize: Int { layout.configuration.vocabularySize }

  public func plan(on hosts: HostLayout) throws(TrainingError) -> RunPlan {
    try inModule { () throws(PlanningError) in
      try RunPlan(configuration, layout, trainingSamples: schedule.sampleCount, hosts: hosts)
    }
  }

  public func train(
    _ options: PretrainOptions, start: ContinuousClock.Instant, world: borrowing World
  ) throws -> ExitCode {
    var inputs = self
    useSingleThreadedBLAS()
    startThreads(configuration.threads ?? world.fairThreads)
    try inputs.findTeacher(world: world)
    var notes = try compareRanks(options, inputs, world: world)
    MappedFile.reportFaults(
      speaker: "\(options.program): rank \(world.rank) (\(world.hostName))", code: ExitCode.failed.rawValue)

    // Rank 0 keeps the journal; a failure to open it ends all ranks.
    var journal = try world.together { () throws -> RunJournal? in
      guard world.rank == 0 else { return nil }
      return try RunJournal(
        path: options.runDirectory, steps: configuration.training.steps, again: options.triesAgain,
        program: options.program, isQuiet: options.isQuiet)
    }
    let progress = RankProgress()
    let watchdog =
      configuration.hangTimeout == 0 ? nil : watch(options, configuration, progress, world: world)
    defer { watchdog?.stop() }
    var step = journal?.lastStep ?? 0
    do {
      notes += try checkRunFolder(options, inputs, world: world)
      return try trainInFolder(
        inputs, options: options, notes: notes, journal: &journal, step: &step, start: start,
        progress: progress, world: world)
    } catch {
      journal?.fail(step: step, error)
      throw error
    }
  }
}

private func watch(
  _ options: PretrainOptions, _ configuration: RunConfiguration, _ progress: RankProgress,
  world: borrowing World
) -> Watchdog {
  Watchdog(
    program: options.program, run: options.runDirectory, rank: world.rank, size: world.size,
    host: world.hostName,
    timeout: configuration.hangTimeout, progress: progress
  ) { _ in World.endJob(code: ExitCode.failed.rawValue) }
}

/// Makes the corpus of the demo where that is what is to run, so that the program does something without arguments.
private func makeDemoCorpus(_ options: PretrainOptions, _ configuration: RunConfiguration) throws {
  guard options.isDemo, !options.isDryRun, configuration.data.corpus == DemoCorpus.directory else { return }
  if try DemoCorpus.make() != nil {
    FileHandle.standardError.write(
      Data("bipft-pretrain: made \(DemoCorpus.directory) of \(DemoCorpus.text)\n".utf8))
  }
}

private func loadConfiguration(_ options: PretrainOptions) throws -> RunConfiguration {
  if options.isDemo, !FileManager.default.fileExists(atPath: options.configurationFile) {
    throw TrainingError.unreadable(
      path: options.configurationFile,
      reason:
        "not here; without --config the demo runs, in the folder of a clone (scripts/quickstart.sh makes "
        + "all that it needs); or give --config FILE")
  }
  return try RunConfiguration.load(file: options.configurationFile, overrides: options.overrides)
}

/// Rank 0 makes the configuration; the others take its word.
private func shareConfiguration(
  _ options: PretrainOptions, _ configuration: () throws -> RunConfiguration, world: borrowing World
) throws -> RunConfiguration {
  let own = try world.together { () throws -> RunConfiguration? in
    world.rank == 0 ? try configuration() : nil
  }
  let text = try world.broadcast(Array((own?.canonicalText ?? "").utf8), from: 0)
  return try own
    ?? RunConfiguration.parse(String(decoding: text, as: UTF8.self), file: options.configurationFile)
}

private func trainInFolder<Goal: Objective>(
  _ inputs: RunInputs<Goal>, options: PretrainOptions, notes: [String], journal: inout RunJournal?,
  step: inout Int,
  start: ContinuousClock.Instant, progress: RankProgress, world: borrowing World
) throws -> ExitCode {
  let configuration = inputs.configuration
  let found = try ChosenCheckpoint.find(options, journal: &journal, progress: progress, world: world)
  let checkpoint = found?.path
  // A checkpoint of another run does not save this one.
  let isOwn = found?.isOwn ?? false
  var teacherNote: String?
  let teacher = try world.together { try loadTeacher(inputs, note: &teacherNote) }
  var run = try TrainingRun(inputs, teacher: teacher, progress: progress, world: world)
  if let teacherNote { journal?.message(teacherNote) }
  if let checkpoint {
    let allowed = Set(options.allowedChanges)
    let note = try world.together { try run.restore(Checkpoint(path: checkpoint), allowing: allowed) }
    if let note { journal?.message(note) }
    if !isOwn { run.course.best = BestEvaluation() }
    try run.publishParameters(world: world)
  } else {
    let notes = try world.together { try run.initialise(world: world) }
    for note in notes { journal?.message(note) }
    try run.shareParameters(world: world)
  }
  step = run.step
  let hosts = try world.allGather(Array(world.hostName.utf8)).map { String(decoding: $0, as: UTF8.self) }
  try world.together {
    try journal?.begin(
      step: step, isResumed: checkpoint != nil, foreign: isOwn ? nil : checkpoint, hosts: hosts,
      configuration: configuration, arithmetic: .current,
      before: run.course.restoredArithmetic)
  }
  for note in notes { journal?.message(note) }
  journal?.message(run.greeting(inputs, checkpoint: checkpoint, world: world))
  // Only once: what it says holds for the whole run.
  if checkpoint == nil { try keepStartNotes(inputs, progress, journal: &journal, world: world) }
  // Each rank reads its part of the shards once more, beside the training.
  inputs.batches.verifyInBackground(part: world.rank, of: world.size)
  var loop = TrainingLoop(
    inputs, run: options.runDirectory, savedStep: isOwn ? step : nil, start: start, progress: progress)
  if checkpoint == nil { try loop.evaluate(&run, journal: &journal, world: world) }
  return try loop.run(&run, journal: &journal, step: &step, world: world)
}

/// What the objective has to tell and to keep at the beginning of a run.
private func keepStartNotes<Goal: Objective>(
  _ inputs: RunInputs<Goal>, _ progress: RankProgress, journal: inout RunJournal?, world: borrowing World
) throws {
  let notes = try world.together { () throws -> StartNotes in
    guard world.rank == 0 else { return StartNotes() }
    let notes = inputs.atStart(progress.touch)
    for (name, text) in notes.files { try journal?.directory.write(text, to: name) }
    return notes
  }
  for message in notes.messages { journal?.message(message) }
}

/// - Parameter note: what to tell the user of the teacher's file, if anything.
private func loadTeacher<Goal: Objective>(
  _ inputs: RunInputs<Goal>, note: inout String?
) throws(TrainingError) -> (any Teacher)? {
  guard let path = inputs.teacherPath else { return nil }
  let weights: TeacherWeights
  do throws(ModelError) {
    let file = try PretrainedWeights(path: path)
    let taken = file.notes(for: inputs.layout.configuration)
    if !taken.isEmpty { note = "teacher from \(path): \(taken.joined(separator: ", "))" }
    weights = try TeacherWeights(file, student: inputs.layout)
  } catch {
    throw .module(error)
  }
  if inputs.configuration.task.teacher != nil, inputs.configuration.distillation.hasLogits, !weights.hasHead {
    throw .incompleteTask(
      "task.teacher: \(path) has no classifier, whose logits are to be matched; fine-tune it first, or set "
        + "task.distillation to hidden")
  }
  return FullPrecisionTeacher(
    weights, configuration: inputs.layout.configuration, sequences: inputs.sliceSequences,
    length: inputs.configuration.data.sequenceLength)
}

extension TrainingRun {
  /// What the user sees first.
  fileprivate func greeting(_ inputs: RunInputs<Goal>, checkpoint: String?, world: borrowing World) -> String
  {
    let parameters = Double(inputs.layout.parameters.parameterCount) / 1e6
    let start = checkpoint.map { "going on from \($0)" } ?? "starting"
    return String(
      format:
        "%@: %d rank%@ of %d thread%@ (%@), %.1f M parameters, %d lanes, %d steps an epoch, objective %@",
      start,
      world.size,
      world.size == 1 ? "" : "s", threadCount, threadCount == 1 ? "" : "s", InstructionSet.name, parameters,
      inputs.configuration.laneCount, inputs.batches.schedule.stepsPerEpoch, inputs.configuration.objective)
  }
}

extension World {
  /// This rank's share of the cores: those it is bound to, or an equal part of the host's.
  var fairThreads: Int {
    let all = ProcessInfo.processInfo.processorCount
    return processorCount < all ? max(1, processorCount) : max(1, all / localSize)
  }
}
