/// Decides from what the ranks have published whether a job hangs, and says who is to blame.
public struct HangDiagnosis: Equatable, Sendable {
  /// What one rank sees of another, or of itself.
  public struct Observation: Equatable, Sendable {
    public var rank: Int
    public var host: String
    public var place: RankProgress.Place
    /// Seconds for which the rank has made no progress.
    public var idle: Double
    /// Its watchdog still gives signs of life.
    public var isAlive: Bool

    public init(rank: Int, host: String, place: RankProgress.Place, idle: Double, isAlive: Bool) {
      self.rank = rank
      self.host = host
      self.place = place
      self.idle = idle
      self.isAlive = isAlive
    }
  }

  /// The rank that speaks and ends the job: the lowest one that is alive.
  public let speaker: Int
  /// One line for the user.
  public let reason: String
  /// The lowest step that a rank is at.
  public let step: Int

  /// nil if any rank has made progress in the last `timeout` seconds, or none is alive.
  public init?(_ ranks: [Observation], timeout: Double) {
    guard let speaker = ranks.first(where: \.isAlive)?.rank, ranks.allSatisfy({ $0.idle >= timeout }) else {
      return nil
    }
    self.speaker = speaker
    let late = Self.culprits(ranks)
    step = ranks.map(\.place.step).min() ?? 0
    let names = late.prefix(3).map { rank in
      "rank \(rank.rank) (\(rank.host)) "
        + (rank.isAlive ? "is" : "does not run (stopped, or its host is lost); it was last seen")
        + " at step \(rank.place.step) in \(Self.text(rank.place))"
    }
    let more = late.count > 3 ? ", and \(late.count - 3) more" : ""
    reason = names.joined(separator: ", ") + more + Self.others(ranks.filter { !late.contains($0) })
  }

  /// What a rank can tell that knows nothing of the others, because the run's folder does not answer; nil if it has made
  /// progress in the last `timeout` seconds.
  ///
  /// - Parameter silence: seconds for which the folder has not answered.
  public init?(alone own: Observation, silentFolder folder: String, silence: Double, timeout: Double) {
    guard own.idle >= timeout else { return nil }
    speaker = own.rank
    step = own.place.step
    reason =
      "rank \(own.rank) (\(own.host)) is at step \(own.place.step) in \(Self.text(own.place)), and the file system of "
      + "\(folder) has not answered it for \(Int(silence)) s"
  }

  /// Ranks that do not run; else those that wait for nobody; else those that are the furthest behind.
  private static func culprits(_ ranks: [Observation]) -> [Observation] {
    let dead = ranks.filter { !$0.isAlive }
    if !dead.isEmpty { return dead }
    let busy = ranks.filter { $0.place.phase != .exchange }
    if !busy.isEmpty { return busy }
    let first = ranks.map(\.place.step).min()
    return ranks.filter { $0.place.step == first }
  }

  /// "; 6 others wait in exchange, losses; 1 in reading".
  private static func others(_ ranks: [Observation]) -> String {
    var groups: [(name: String, count: Int)] = []
    for rank in ranks {
      let name = rank.place.phase == .exchange ? text(rank.place) : rank.place.phase.rawValue
      if let index = groups.firstIndex(where: { $0.name == name }) {
        groups[index].count += 1
      } else {
        groups.append((name, 1))
      }
    }
    groups.sort { ($1.count, $0.name) < ($0.count, $1.name) }
    guard let largest = groups.first else { return "" }
    let rest = groups.dropFirst().map { "; \($0.count) in \($0.name)" }.joined()
    return
      "; \(largest.count) \(largest.count == 1 ? "other waits" : "others wait") in \(largest.name)\(rest)"
  }

  private static func text(_ place: RankProgress.Place) -> String {
    place.phase.rawValue + (place.detail.isEmpty ? "" : ", \(place.detail)")
  }
}
