/// Something that is told how a run gets on, and keeps or shows it in its own way. Whatever it holds can be made anew from
/// `metrics.jsonl` and `measurements.jsonl`, which are such sinks themselves.
///
/// To add one, write its type in a file of its own and name it where `RunJournal` (module Training) makes its sinks.
public protocol RunSink: AnyObject {
  /// A step, or an evaluation, is done.
  func record(_ record: StepRecord)

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
  public func message(_ text: String) {}
  public func flush() throws(TelemetryError) {}
  public func finish() {}
}
