/// Runs `bipft-pretrain` with its arguments parsed: reads and checks the configuration; a dry run prints it.
///
/// - Returns: how the program is to end.
/// - Throws: `TrainingError`, whose `exitCode` says the same of a failure.
public func pretrain(options: PretrainOptions) throws(TrainingError) -> ExitCode {
  let configuration = try RunConfiguration.load(file: options.configurationFile, overrides: options.overrides)
  try RunPlan.checkWorldSize(options.plannedRanks ?? 1, configuration)
  if options.isDryRun { print(configuration.canonicalText, terminator: "") }
  return .finished
}
