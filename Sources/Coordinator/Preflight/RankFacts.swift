/// What one rank is and where it runs: what the preflight compares between ranks.
public struct RankFacts: Codable, Equatable, Sendable {
  public var rank: Int
  public var host: String
  /// Threads that the rank is to use.
  public var threads: Int
  /// The cores that it may run on, and how many its host has.
  public var cores: [Int]
  public var hostCores: Int
  /// SHA-256 of the program.
  public var executable: String
  /// The command line and what of the environment changes the run.
  public var arguments: String
  /// Digests of corpus, vocabulary and schedule, as the rank reads them.
  public var inputs: String
  /// Digest of the teacher's file on the rank's host; empty without a teacher.
  public var teacher: String
  /// The kernels in use (`InstructionSet.name`).
  public var kernels: String

  public init(
    rank: Int, host: String, threads: Int, cores: [Int], hostCores: Int, executable: String,
    arguments: String, inputs: String, teacher: String, kernels: String
  ) {
    self.rank = rank
    self.host = host
    self.threads = threads
    self.cores = cores
    self.hostCores = hostCores
    self.executable = executable
    self.arguments = arguments
    self.inputs = inputs
    self.teacher = teacher
    self.kernels = kernels
  }
}
