import DurableFiles
import Foundation

/// `measurements.jsonl`: what was measured at each step, appended; steps that are done again stand there again. Lines are
/// for people and plots, so one that cannot be written whole is left out.
public final class MeasurementsFile: RunSink {
  private let path: String
  private let descriptor: Int32
  /// Bytes of whole lines; the next line goes here.
  private var end: Int

  /// Opens the file, made if it is missing, and cuts off a torn last line; a run that begins drops what is there.
  ///
  /// - Throws: `TelemetryError.file`.
  public init(path: String, isResumed: Bool) throws(TelemetryError) {
    (descriptor, end) = try Self.open(path, isResumed)
    self.path = path
  }

  private static func open(
    _ path: String, _ isResumed: Bool
  ) throws(TelemetryError) -> (descriptor: Int32, end: Int) {
    let lines = try LinesFromTheEnd(appending: path)
    let end = isResumed ? lines.end : 0
    return (try lines.cut(at: end), end)
  }

  deinit { close(descriptor) }

  /// Appends what was measured with `record`, if anything.
  public func record(_ record: StepRecord) {
    guard let json = record.measuredJSON else { return }
    let bytes = Array((json + "\n").utf8)
    do throws(FileError) {
      try writeAll(bytes, to: descriptor, at: end, path: path)
      end += bytes.count
    } catch {
      ftruncate(descriptor, off_t(end))
    }
  }
}
