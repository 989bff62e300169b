/// The exit codes of `bipft-pretrain`, the contract with whatever restarts it.
public enum ExitCode: Int32, CaseIterable, Sendable {
  /// The run is complete.
  case finished = 0
  /// The run failed in a way that a restart may mend.
  case failed = 70
  /// A stop signal came; the run is saved and goes on when started again.
  case preempted = 75
  /// Starting again cannot help: the configuration or the data must change first.
  case doNotRestart = 78
}
