import ArgumentParser

/// The options that the command line of a run has, whatever the run is for.
public struct RunArguments: ParsableArguments {
  @Option(
    name: .customLong("set"), parsing: .singleValue,
    help: ArgumentHelp(
      "Change one key of the configuration for this run, as in --set training.steps=100. May be given many times; of "
        + "two for one key the last counts.",
      valueName: "key=value"))
  public var overrides: [String] = []

  @Option(
    name: .customLong("allow-change"), parsing: .singleValue,
    help: ArgumentHelp(
      "Go on from a checkpoint although this field has changed since: a key of the configuration, or corpus, "
        + "vocabulary, schedule. May be given many times.",
      valueName: "field"))
  public var allowedChanges: [String] = []

  @Flag(
    help:
      "Start although three starts before brought no new checkpoint (exit code 78), once the cause is mended."
  )
  public var tryAgain = false

  @Flag(
    help: "Show neither progress nor messages; errors are told, and log.txt in the run's folder has the rest."
  )
  public var quiet = false

  @Flag(
    help: "Check everything, print the configuration and the plan (memory, lanes, steps an epoch), and stop.")
  public var dryRun = false

  @Option(help: ArgumentHelp("With --dry-run: plan for this many ranks.", valueName: "n"))
  public var ranks: Int?

  public init() {}

  public func validate() throws {
    guard let ranks else { return }
    guard dryRun else {
      throw ValidationError("--ranks needs --dry-run; mpirun -n sets the ranks of a run")
    }
    guard ranks >= 1 else { throw ValidationError("--ranks \(ranks): use 1 or more") }
  }
}
