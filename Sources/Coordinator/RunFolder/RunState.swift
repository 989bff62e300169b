import DurableFiles
import Foundation

/// `RUN/state.json`: what became of a run, for people and for whatever restarts jobs.
public struct RunState: Codable, Equatable, Sendable {
  public enum Status: String, Codable, Sendable, CaseIterable {
    /// In progress; or, if nobody holds the run's lock, the job was killed.
    case running
    /// Stopped by a signal, saved; start it again.
    case preempted
    case finished
    case failed
    /// Ended by the watchdog.
    case hung
  }

  /// Tells our state files from others'.
  public static let format = "bipft-run"
  public static let currentVersion = 1

  public let format: String
  public let version: Int
  public var status: Status
  /// Optimizer steps done.
  public var step: Int
  /// One line, empty if there is nothing to say.
  public var reason: String
  /// How often the run was started.
  public var attempt: Int
  /// Starts, this one included, since the last new checkpoint.
  public var startsWithoutCheckpoint: Int
  /// When this was written, in UTC (ISO 8601).
  public var time: String

  /// The format version that the text of a state file names; nil if it is none of a run.
  static func version(_ bytes: [UInt8]) -> Int? {
    struct Head: Decodable {
      let format: String
      let version: Int
    }
    return (try? decodeJSON(Head.self, bytes)).flatMap {
      $0.format == format ? $0.version : nil
    }
  }

  /// Whether `bytes`, which are no state of a run, are another program's: JSON with something in it that does not name our
  /// format. A crash of the host or a copy that was cut off leaves no JSON; a hand leaves `{}`, or our format with numbers that
  /// no run has.
  static func isForeign(_ bytes: [UInt8]) -> Bool {
    do throws(JSONProblem) {
      return try JSONReader.read(bytes) { reader throws(JSONProblem) in
        var value = reader
        try reader.skip()
        var (isEmpty, isOurs) = (true, false)
        // What is no object throws, and is not ours.
        try? value.object { member, name throws(JSONProblem) in
          isEmpty = false
          var other = member
          try member.skip()
          if name == "format", (try? other.string()) == format { isOurs = true }
        }
        return !(isOurs || isEmpty && bytes.contains(UInt8(ascii: "{")))
      }
    } catch {
      return false
    }
  }

  /// Its numbers are such as a run can have.
  var isPlausible: Bool {
    [step, attempt, startsWithoutCheckpoint].allSatisfy { (0...maximumStep).contains($0) }
  }

  public init(
    status: Status, step: Int, reason: String, attempt: Int, startsWithoutCheckpoint: Int, time: Date
  ) {
    format = Self.format
    version = Self.currentVersion
    self.status = status
    self.step = step
    self.reason = reason
    self.attempt = attempt
    self.startsWithoutCheckpoint = startsWithoutCheckpoint
    self.time = time.formatted(.iso8601)
  }
}
