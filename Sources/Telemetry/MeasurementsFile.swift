import DurableFiles
import Foundation

/// `measurements.jsonl`: what was measured at each step, appended; steps that are done again stand there again. Lines are
/// for people and plots, so one that cannot be written is left out.
public struct MeasurementsFile: ~Copyable {
  private let path: String
  private let descriptor: Int32

  /// Opens the file, made if it is missing; a run that begins drops what is there.
  ///
  /// - Throws: `TelemetryError.file`.
  public init(path: String, isResumed: Bool) throws(TelemetryError) {
    let flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (isResumed ? 0 : O_TRUNC)
    descriptor = open(path, flags, 0o644)
    self.path = path
    if descriptor < 0 { throw .file(.system(operation: "open", path: path, code: errno)) }
  }

  deinit { close(descriptor) }

  /// Appends what was measured with `record`, if anything.
  public func append(_ record: StepRecord) {
    guard let json = record.measuredJSON else { return }
    try? writeAll(Array((json + "\n").utf8), to: descriptor, path: path)
  }
}
