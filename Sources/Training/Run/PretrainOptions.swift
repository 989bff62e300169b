import Foundation
import Planning
import RunSettings

/// The arguments of a run: those of `bipft-pretrain`, or what `bipft finetune` makes of its own.
public struct PretrainOptions: Equatable, Sendable {
  /// The configuration that runs where none is named, in the folder of a clone.
  public static let demo = "configs/demo.yaml"

  /// The program that runs, as it calls itself in messages.
  public var program = "bipft-pretrain"
  /// The YAML file.
  public var configurationFile: String
  /// No file was named: the demo runs, and its corpus is made if it is missing.
  public let isDemo: Bool
  /// `KEY=VALUE` each.
  public var overrides: [String]
  /// Where the run keeps its metrics and checkpoints.
  public var runDirectory: String
  public var resume: Resume
  /// Fields that may differ from the checkpoint's: configuration keys, or corpus, vocabulary, schedule.
  public var allowedChanges: [String]
  /// Start although starts before brought no new checkpoint.
  public var triesAgain: Bool
  /// Check everything, print the plan, and stop.
  public var isDryRun: Bool
  /// Neither progress nor messages, but for errors.
  public var isQuiet: Bool
  /// The ranks that a dry run plans for; nil takes those of the world.
  public var plannedRanks: Int?
  /// How many of them share a host; nil for all.
  public var ranksPerHost: Int?
  /// What a dry run estimates the time of a step for; nil estimates nothing.
  public var estimate: StepTimeTable.Estimate?

  /// What a run starts from.
  public enum Resume: Equatable, Sendable {
    /// The newest valid checkpoint of the run directory, or the beginning if there is none.
    case automatic
    /// The beginning.
    case never
    /// The newest valid checkpoint of the run directory.
    case latest
    /// A checkpoint's folder, or that of a run or of its checkpoints.
    case checkpoint(String)

    /// `auto`, `none`, `latest` or a path.
    public init(argument: String) {
      self =
        switch argument {
        case "auto": .automatic
        case "none": .never
        case "latest": .latest
        default: .checkpoint(argument)
        }
    }
  }

  /// The fields besides keys of the configuration whose change can be allowed.
  private static let digests = ["corpus", "vocabulary", "schedule"]

  /// Refuses a change of a field that no run has.
  ///
  /// - Throws: `TrainingError.unknownField`.
  func checkAllowedChanges() throws(TrainingError) {
    for field in allowedChanges where !Self.digests.contains(field) && !RunConfiguration.hasKey(field) {
      throw .unknownField(field, suggestion: RunConfiguration.suggestion(for: field, or: Self.digests))
    }
  }

  /// - Parameters:
  ///   - configurationFile: nil takes the demo's.
  ///   - runDirectory: nil takes `runs/NAME` for a configuration file `NAME.yaml`.
  public init(
    configurationFile: String?, overrides: [String] = [], runDirectory: String? = nil,
    resume: Resume = .automatic, allowedChanges: [String] = [], triesAgain: Bool = false,
    isDryRun: Bool = false, isQuiet: Bool = false, plannedRanks: Int? = nil,
    ranksPerHost: Int? = nil, estimate: StepTimeTable.Estimate? = nil
  ) {
    isDemo = configurationFile == nil
    let configurationFile = configurationFile ?? Self.demo
    self.configurationFile = configurationFile
    self.overrides = overrides
    let name = URL(fileURLWithPath: configurationFile).deletingPathExtension().lastPathComponent
    self.runDirectory = runDirectory ?? "runs/\(name)"
    self.resume = resume
    self.allowedChanges = allowedChanges
    self.triesAgain = triesAgain
    self.isDryRun = isDryRun
    self.isQuiet = isQuiet
    self.plannedRanks = plannedRanks
    self.ranksPerHost = ranksPerHost
    self.estimate = estimate
  }
}
