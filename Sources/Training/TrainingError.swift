/// What can go wrong in a run, apart from the errors of the modules below.
public enum TrainingError: Error, Equatable, CustomStringConvertible, Sendable {
  /// The configuration holds these problems, at least one, in the order of the file.
  case configuration([ConfigurationProblem])
  /// More ranks than a step has micro-batches, or none.
  case worldSize(ranks: Int, globalBatch: Int, microBatch: Int)

  /// One line, or one a problem.
  public var description: String {
    switch self {
    case .configuration(let problems):
      return problems.map(\.description).joined(separator: "\n")
    case .worldSize(let ranks, let globalBatch, let microBatch):
      let lanes = globalBatch / microBatch
      return
        "\(ranks) \(ranks == 1 ? "rank does" : "ranks do") not fit \(lanes) \(lanes == 1 ? "lane" : "lanes") "
        + "(training.global_batch \(globalBatch) / training.micro_batch \(microBatch)): "
        + (lanes == 1 ? "use 1 rank" : "use 1 to \(lanes) ranks")
    }
  }

  /// How a program ends that met this error.
  public var exitCode: ExitCode {
    switch self {
    case .configuration, .worldSize: .doNotRestart
    }
  }
}

/// One thing that is wrong in a configuration.
public struct ConfigurationProblem: Equatable, CustomStringConvertible, Sendable {
  /// Where the value was given.
  public enum Place: Equatable, Sendable {
    /// In a file; line 0 stands for the file as a whole.
    case file(String, line: Int)
    /// In an override `KEY=VALUE`.
    case override(String)
  }

  public let place: Place
  /// The key with its section; empty if no single key is to blame.
  public let key: String
  /// What is wrong and what would be right.
  public let message: String

  /// `FILE:LINE: KEY: MESSAGE` or `--set KEY=VALUE: MESSAGE`.
  public var description: String {
    switch place {
    case .file(let file, let line):
      let location = line == 0 ? file : "\(file):\(line)"
      return key.isEmpty ? "\(location): \(message)" : "\(location): \(key): \(message)"
    case .override(let text):
      let namesKey = key.isEmpty || text == key || text.hasPrefix(key + "=")
      return namesKey ? "--set \(text): \(message)" : "--set \(text): \(key): \(message)"
    }
  }
}
