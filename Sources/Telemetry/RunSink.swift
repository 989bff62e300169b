/// What a job knows of its run when it begins.
public struct RunDescription: Sendable {
  /// The last part of the run folder's path.
  public let name: String
  /// Updates of the whole run.
  public let steps: Int
  /// Updates done before this job; 0 where the run begins.
  public let step: Int
  /// Tokens of an update, padding included.
  public let tokensPerStep: Int
  /// Keys of the configuration and their values, in their order.
  public let settings: [(key: String, value: String)]

  public init(
    name: String, steps: Int, step: Int, tokensPerStep: Int, settings: [(key: String, value: String)]
  ) {
    (self.name, self.steps, self.step) = (name, steps, step)
    (self.tokensPerStep, self.settings) = (tokensPerStep, settings)
  }
}

/// Something that is told how a run gets on, and keeps or shows it in its own way. Whatever it holds can be made anew from
/// `metrics.jsonl`, `measurements.jsonl` and `vitals.jsonl`, which are such sinks themselves.
///
/// To add one, write its type in a file of its own and name it where `RunJournal` (module Training) makes its sinks.
public protocol RunSink: AnyObject {
  /// A step, or an evaluation, is done.
  func record(_ record: StepRecord)

  /// What was looked at between two steps.
  func vitals(_ vitals: VitalSigns)

  /// A checkpoint of this step is there.
  func checkpoint(step: Int)

  /// The run is now in this state (`RunState.Status` by name).
  ///
  /// - Parameter reason: of a stop or failure; else empty.
  func state(_ state: String, step: Int, reason: String)

  /// A line for people.
  func message(_ text: String)

  /// Writes what was recorded and is not written yet; called after each record, and before a checkpoint that counts on it.
  ///
  /// - Throws: `TelemetryError`; what is not written yet stays, and the call can be repeated.
  func flush() throws(TelemetryError)

  /// The job ends, in order or not.
  func finish()
}

extension RunSink {
  public func vitals(_ vitals: VitalSigns) {}
  public func checkpoint(step: Int) {}
  public func state(_ state: String, step: Int, reason: String) {}
  public func message(_ text: String) {}
  public func flush() throws(TelemetryError) {}
  public func finish() {}
}
