import ArgumentParser
import Foundation
import Planning
import RunArguments
import Training

/// `bipft-pretrain`: arguments in, exit code out.
@main
struct PretrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bipft-pretrain",
    abstract: "Pretrain a 1-bit BERT (BiPFT) on one or many machines.",
    usage:
      "bipft-pretrain [--config FILE] [--run-dir DIR] [--set KEY=VALUE]... [--resume auto|none|latest|PATH] [--dry-run]",
    discussion: """
      Trains on a corpus made by `bipft corpus build`, as the configuration file says:

        mpirun -n 8 bipft-pretrain --config configs/demo.yaml

      Without --config it runs the demo: that configuration, in the folder of a clone. Its corpus, corpus/demo, is made \
      of the bundled text if it is missing. It is the same run, in runs/demo, as scripts/quickstart.sh does.

      Without mpirun it is a run of one rank. The number of ranks changes the time, never the result: losses and weights \
      are the same bit for bit. A run that was stopped goes on from its newest checkpoint when the same command is \
      given again, with the same number of ranks or another.

      The run directory then holds metrics.jsonl (one line a step) and checkpoints/ (model.safetensors in each).

      Exit codes:
        0   finished
        70  failed; starting again may help
        75  stopped by a signal and saved; start again to go on
        78  do not start again before the configuration or the data is mended, or what let three starts end without a \
      new checkpoint
      """)

  @Option(
    help: ArgumentHelp(
      "The YAML file that defines the run. configs/demo.yaml shows every key with its meaning, and is the default.",
      valueName: "file"))
  var config: String?

  @Option(
    name: .customLong("run-dir"), parsing: .singleValue,
    help: ArgumentHelp(
      "Where metrics and checkpoints go. Default: runs/NAME for a configuration NAME.yaml.", valueName: "dir")
  )
  var runDirectories: [String] = []

  @Option(
    help: ArgumentHelp(
      "auto: go on from the newest valid checkpoint of the run directory, or start if it has none. none: start from "
        + "the beginning. latest: go on from the newest valid checkpoint, which must be there. A path: go on from that "
        + "checkpoint, or from the newest valid one of that run.",
      valueName: "auto|none|latest|path"))
  var resume: String = "auto"

  @OptionGroup var arguments: RunArguments

  @Option(
    help: ArgumentHelp(
      "With --dry-run: estimate the time of a step where each host has a link of this many Gbit/s.",
      valueName: "g"))
  var linkGbit: Double?

  @Option(
    help: ArgumentHelp(
      "With --dry-run: this many ranks share a host. Default: all.", valueName: "n"))
  var ranksPerHost: Int?

  @Option(
    help: ArgumentHelp(
      "With --link-gbit: microseconds that a message takes besides its bytes. Default: 30.", valueName: "us"))
  var linkLatencyUs: Double?

  @Option(
    help: ArgumentHelp(
      "With --link-gbit: tokens a second of one core, forward and backward, if not to be measured here.",
      valueName: "n"))
  var coreTokensPerSecond: Double?

  func validate() throws {
    func check(_ name: String, _ value: Double?, allowsZero: Bool = false) throws {
      guard let value else { return }
      guard value.isFinite, allowsZero ? value >= 0 : value > 0 else {
        throw ValidationError("\(name) \(value): use a number \(allowsZero ? "of 0 or more" : "above 0")")
      }
    }
    if let ranksPerHost {
      guard arguments.dryRun else { throw ValidationError("--ranks-per-host needs --dry-run") }
      guard ranksPerHost >= 1 else {
        throw ValidationError("--ranks-per-host \(ranksPerHost): use 1 or more")
      }
    }
    if linkGbit != nil, !arguments.dryRun { throw ValidationError("--link-gbit needs --dry-run") }
    for (name, value) in [
      ("--link-latency-us", linkLatencyUs), ("--core-tokens-per-second", coreTokensPerSecond),
    ] where value != nil && linkGbit == nil {
      throw ValidationError("\(name) needs --link-gbit")
    }
    try check("--link-gbit", linkGbit)
    try check("--link-latency-us", linkLatencyUs, allowsZero: true)
    try check("--core-tokens-per-second", coreTokensPerSecond)
    if resume.isEmpty {
      throw ValidationError("--resume is empty: use auto, none, latest or the path of a checkpoint")
    }
    if runDirectories.count > 1 {
      throw ValidationError(
        "--run-dir is given \(runDirectories.count) times (\(runDirectories.joined(separator: ", "))): give one"
      )
    }
    if runDirectories.first?.isEmpty == true {
      throw ValidationError("--run-dir is empty: name a folder, or leave it out for runs/NAME")
    }
  }

  var options: PretrainOptions {
    PretrainOptions(
      configurationFile: config, overrides: arguments.overrides, runDirectory: runDirectories.first,
      resume: PretrainOptions.Resume(argument: resume), allowedChanges: arguments.allowedChanges,
      triesAgain: arguments.tryAgain, isDryRun: arguments.dryRun, isQuiet: arguments.quiet,
      plannedRanks: arguments.ranks, ranksPerHost: ranksPerHost,
      estimate: linkGbit.map {
        StepTimeTable.Estimate(
          gigabits: $0, latencyMicroseconds: linkLatencyUs ?? 30, coreTokensPerSecond: coreTokensPerSecond)
      })
  }

  /// Replaces the library's `main`: under mpirun every rank gets the same arguments, but only one may speak.
  static func main() {
    let rank = LaunchedRank.own
    do {
      let command = try parse()
      end(try pretrain(options: command.options), rank)
    } catch let error as TrainingError {
      rank.complain("\(error)", as: "bipft-pretrain")
      end(error.exitCode, rank)
    } catch  where exitCode(for: error).isSuccess {
      if rank.speaks { print(fullMessage(for: error)) }
      end(.finished, rank)
    } catch {
      let text = "\(message(for: error)) (bipft-pretrain --help explains the arguments)"
      rank.complain(text, as: "bipft-pretrain")
      end(.doNotRestart, rank)
    }
  }

  private static func end(_ code: Training.ExitCode, _ rank: LaunchedRank) -> Never {
    rank.waitForSpeaker(code)
    Foundation.exit(code.rawValue)
  }
}
