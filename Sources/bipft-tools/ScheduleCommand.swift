import ArgumentParser
import BinaryModel
import Foundation
import RunSettings
import Training

/// `bipft schedule …`
struct ScheduleCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "schedule",
    abstract: "Show which samples a run trains on, step by step.",
    discussion: """
      The schedule is a pure function of the configuration and the corpus, so this shows exactly what any run of it reads, \
      whatever its ranks:

        bipft schedule --config configs/demo.yaml --step 1 --json
        bipft schedule --config configs/demo.yaml --held-out --json
        bipft schedule --config configs/demo.yaml --plan --ranks 8
        bipft schedule --audit runs/demo

      Steps count from 1, as in metrics.jsonl: step N is the batch of the Nth update. With --json each line is one object: \
      step, epoch, and per lane (micro-batch) sample_ids, input_ids, token_type_ids, attention_mask, labels (-100 where \
      nothing is predicted) and next_sentence_label (0: the second segment follows the first).

      --plan shows shards, lanes, epochs and the samples that an epoch leaves out, the share of the tokens that an epoch \
      reads, and which lanes and shards each rank has.

      --audit replays all that happened to a run (restarts, other numbers of ranks, steps done again) and proves that every \
      sample came exactly once an epoch, or names gaps and duplicates (exit code 78). It also says what share of the corpus' \
      tokens was trained on.
      """)

  @Option(help: ArgumentHelp("The YAML file that defines the run.", valueName: "file"))
  var config: String?

  @Option(
    name: .customLong("set"), parsing: .singleValue,
    help: ArgumentHelp(
      "Change one key of the configuration. May be given many times.", valueName: "key=value"))
  var overrides: [String] = []

  @Option(help: ArgumentHelp("Show the batch of this update, from 1.", valueName: "n"))
  var step: Int?

  @Option(help: ArgumentHelp("Show this many batches, from --step on.", valueName: "n"))
  var count: Int = 1

  @Flag(help: "Show the held-out batches that evaluations read.")
  var heldOut = false

  @Flag(help: "Show the numbers of the schedule, and the shards that each rank reads in an epoch.")
  var plan = false

  @Option(help: ArgumentHelp("With --plan: for this many ranks.", valueName: "n"))
  var ranks: Int = 1

  @Option(help: ArgumentHelp("With --plan: this epoch, from 0.", valueName: "n"))
  var epoch: UInt32 = 0

  @Flag(help: "Print whole batches as JSON; without it, the sample numbers of each lane.")
  var json = false

  @Option(
    help: ArgumentHelp("Prove that this run used every sample exactly once an epoch.", valueName: "run"))
  var audit: String?

  @Option(
    help: ArgumentHelp(
      "With --audit: the corpus, if it is not where the run's configuration says.", valueName: "dir"))
  var corpus: String?

  func validate() throws {
    if audit != nil {
      guard config == nil, step == nil, !heldOut, !plan, overrides.isEmpty else {
        throw ValidationError(
          "--audit takes the run's own configuration: no --config, --set, --step, --held-out or --plan")
      }
      return
    }
    if corpus != nil { throw ValidationError("--corpus needs --audit") }
    if config == nil { throw ValidationError("give --config FILE, or --audit RUN") }
    if plan {
      if step != nil || heldOut { throw ValidationError("--plan excludes --step and --held-out") }
      return
    }
    // As many steps as a configuration takes.
    let most = 1_000_000_000
    if let step, step < 1 { throw ValidationError("--step \(step): steps count from 1") }
    if let step, step > most { throw ValidationError("--step \(step): a run has at most \(most) steps") }
    if count < 1 || count > most { throw ValidationError("--count \(count): use 1 to \(most)") }
    if heldOut && step != nil { throw ValidationError("--step and --held-out exclude each other") }
    if !heldOut && step == nil { throw ValidationError("give --step N, --held-out or --plan") }
  }

  func run() throws {
    do {
      if let audit {
        try report(RunAudit(run: audit, corpus: corpus))
        return
      }
      let configuration = try RunConfiguration.load(file: config ?? "", overrides: overrides)
      let inputs = try Objectives.inputs(configuration)
      if plan {
        print(try inputs.schedulePlan(ranks: ranks, epoch: epoch))
        return
      }
      guard let step else {
        print(try inputs.batchText(step: nil, asJSON: json))
        return
      }
      for number in step..<step + count { print(try inputs.batchText(step: number, asJSON: json)) }
    } catch let code as ArgumentParser.ExitCode {
      throw code
    } catch {
      for line in "\(error)".split(separator: "\n") {
        FileHandle.standardError.write(Data("bipft: \(line)\n".utf8))
      }
      throw ArgumentParser.ExitCode(TrainingError.exitCode(of: error).rawValue)
    }
  }

  private func report(_ audit: RunAudit) throws {
    for line in audit.lines { print(line) }
    for fault in audit.faults { print(fault) }
    if !audit.isExact { throw ArgumentParser.ExitCode(78) }
  }
}
