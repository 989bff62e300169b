import Foundation
import Synchronization

/// How far this rank has come, told by its training thread and read by the watchdog.
public final class RankProgress: Sendable {
  /// What a rank is doing.
  public enum Phase: String, Sendable, CaseIterable {
    case starting
    case reading
    case computing
    /// In an operation of all ranks, so perhaps waiting for another one.
    case exchange
    case evaluation
    case checkpoint
    case ending
  }

  /// A place in the run.
  public struct Place: Equatable, Sendable {
    /// The update that is being made; 0 before the first.
    public var step: Int
    public var phase: Phase
    /// What the phase is at: "lane 3".
    public var detail: String

    public init(step: Int, phase: Phase, detail: String = "") {
      self.step = step
      self.phase = phase
      self.detail = detail
    }
  }

  private struct State {
    var place = Place(step: 0, phase: .starting)
    var since = ContinuousClock.now
  }

  private let state = Mutex(State())

  public init() {}

  /// The rank has come to another place.
  ///
  /// - Cost: takes a lock that is almost never held; no system call.
  public func enter(_ phase: Phase, step: Int? = nil, detail: String = "") {
    state.withLock {
      $0.place = Place(step: step ?? $0.place.step, phase: phase, detail: detail)
      $0.since = .now
    }
  }

  /// The rank, or a thread that it waits for, is alive and works.
  public func touch() { state.withLock { $0.since = .now } }

  /// Where the rank is, and for how many seconds nothing has moved.
  public var now: (place: Place, idle: Double) {
    state.withLock { ($0.place, $0.since.duration(to: .now) / .seconds(1)) }
  }
}
