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

  /// Calls `body` with each line of the file at `path`, in their order; what is no line of this file is left out, and a file
  /// that cannot be read has none.
  ///
  /// - Cost: one pass.
  public static func read(path: String, _ body: (_ step: Int, [StepRecord.Extra]) -> Void) {
    guard let bytes = try? readFile(path) else { return }
    var start = 0
    while let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
      if let (step, extras) = try? StepRecord.measured(line: Array(bytes[start..<end])) { body(step, extras) }
      start = end + 1
    }
  }
}
