/// What is wrong in a configuration.
public struct ConfigurationError: Error, Equatable, CustomStringConvertible, Sendable {
  /// At least one, in the order of the file.
  public let problems: [ConfigurationProblem]

  /// A line a problem.
  public var description: String { problems.map(\.description).joined(separator: "\n") }
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
