import DurableFiles
import Foundation

/// `measurements.jsonl`: what was measured at each step, appended; steps that are done again stand there again. Lines are
/// for people and plots, so one that cannot be written whole is left out.
public final class MeasurementsFile: RunSink {
  private let file: AppendedFile

  /// Opens the file, made if it is missing, and cuts off a torn last line; a run that begins drops what is there.
  ///
  /// - Throws: `TelemetryError.file`.
  public init(path: String, isResumed: Bool) throws(TelemetryError) {
    guard isResumed else {
      file = try AppendedFile(lines: path, whose: nil)
      return
    }
    file = try AppendedFile(lines: path) { _, _ in true }
  }

  /// Appends what was measured with `record`, if anything.
  public func record(_ record: StepRecord) {
    if let json = record.measuredJSON { try? file.append(line: json) }
  }
}
