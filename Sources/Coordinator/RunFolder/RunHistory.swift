import DurableFiles
import Foundation

/// `RUN/history.jsonl`: what happened to a run, one event a line, only ever appended to. Metrics hold the steps that
/// count; this file also tells of those that were lost and done again.
public struct RunHistory: Sendable {
  /// One line.
  public struct Event: Codable, Equatable, Sendable {
    public enum Kind: String, Codable, Sendable {
      /// A job starts; its next update is number `step` + 1.
      case start
      /// The update number `step` was left out.
      case skipped
      /// A job ends in order after update number `step`.
      case end
      /// A job ended without a word after update number `step`, as far as is known: killed, or its host failed. Told by the
      /// next one.
      case lost
    }

    public var event: Kind
    public var step: Int
    /// Of `start`: the last update that jobs before have recorded; those after `step` are done again.
    public var reached: Int?
    /// Of `start`: ranks of the job.
    public var ranks: Int?
    /// Of `start`: the hosts of the ranks, each once, in the order of its first rank; nil in histories of earlier releases.
    public var hosts: [String]?
    /// Of `start`: the checkpoint of another run that the job goes on from.
    public var from: String?
    /// Of `lost`: which start of the run it was, from 1.
    public var attempt: Int?
    /// Of `skipped`, `end`, `lost`: why.
    public var reason: String?
    /// Of `start`: what computes from here on; nil in histories of earlier releases.
    public var arithmetic: Arithmetic?
    /// UTC, ISO 8601.
    public var time: String

    public init(
      _ event: Kind, step: Int, reached: Int? = nil, ranks: Int? = nil, hosts: [String]? = nil,
      from: String? = nil, attempt: Int? = nil, reason: String? = nil, arithmetic: Arithmetic? = nil,
      time: Date = Date()
    ) {
      self.event = event
      self.step = step
      self.reached = reached
      self.ranks = ranks
      self.hosts = hosts
      self.from = from
      self.attempt = attempt
      self.reason = reason
      self.arithmetic = arithmetic
      self.time = time.formatted(.iso8601)
    }

    /// Its numbers are such as a run can have.
    var isPlausible: Bool {
      (0...maximumStep).contains(step) && (0...maximumStep).contains(reached ?? 0)
        && (0...maximumStep).contains(attempt ?? 0)
    }
  }

  /// Whether the checkpoint of `step` is of a course that the run has left: the last start went back over it, and the run has
  /// not come to its step again.
  ///
  /// - Parameter reached: the last step that the metrics tell of.
  public static func hasLeft(step: Int, events: [Event], reached: Int) -> Bool {
    guard let start = events.last(where: { $0.event == .start }), let before = start.reached else {
      return false
    }
    return start.step < step && step <= before && reached < step
  }

  public static let fileName = "history.jsonl"
  public let path: String

  /// The history of the run in the folder `run`.
  public init(run: String) { path = run + "/" + Self.fileName }

  /// Appends one line and makes it durable. What a crash left of a line is cut off first. One process does it, the holder of
  /// the run.
  public func append(_ event: Event) throws(RunFolderError) {
    let line = encodeJSONLine(event)
    let end = try wholeLines().count
    try RunFolderError.files { () throws(FileError) in
      if end == 0, access(path, F_OK) != 0 {
        _ = try FileAccess(creating: path, size: 0)
        try syncFolder(parentFolder(of: path))
      }
      let file = try FileAccess(updating: path)
      do throws(FileError) {
        try file.write(line, at: end)
        try file.truncate(end + line.count)
        try file.sync()
      } catch {
        try? file.truncate(end)
        throw error
      }
    }
  }

  /// All events; a torn last line is left out.
  ///
  /// - Throws: `unreadable` with the number of a line that is no event.
  public func events() throws(RunFolderError) -> [Event] {
    var events: [Event] = []
    for (index, line) in try wholeLines().split(
      separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false
    )
    .dropLast().enumerated() {
      guard let event = try? decodeJSONLine(Event.self, line), event.isPlausible else {
        throw .unreadable(path: path, problem: "line \(index + 1) is not an event of a run")
      }
      events.append(event)
    }
    return events
  }

  /// The file up to its last line end; empty if there is none.
  private func wholeLines() throws(RunFolderError) -> [UInt8] {
    let bytes = try RunFolderError.files { () throws(FileError) in try readFileIfThere(path) } ?? []
    return Array(bytes[..<((bytes.lastIndex(of: UInt8(ascii: "\n")) ?? -1) + 1)])
  }
}
