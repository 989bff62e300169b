import BinaryModel
import Telemetry

/// Where the time of one step goes, on one rank. A step is in one phase at a time, so the phases add up to it.
public struct StepClock: Sendable {
  public enum Phase: Int, CaseIterable, Sendable {
    /// Waiting for batches.
    case reading
    case teacher
    /// Of the lanes, up to the last hidden state.
    case forward
    /// Of the lanes, the losses included.
    case backward
    /// In operations of all ranks, so perhaps waiting for another one; adding up what came.
    case exchange
    /// Sums of this rank's lanes, norm, AdamW, packing of the weights.
    case update
  }

  private var spent = [Double](repeating: 0, count: Phase.allCases.count)
  private var phase = Phase.reading
  private var since = ContinuousClock.now

  public init() {}

  /// The time from now on is that of `phase`.
  public mutating func enter(_ next: Phase) {
    let now = ContinuousClock.now
    spent[phase.rawValue] += since.duration(to: now) / .seconds(1)
    (phase, since) = (next, now)
  }

  public mutating func note(_ moment: LaneMoment) {
    switch moment {
    case .forward: enter(.forward)
    case .backward: enter(.backward)
    case .complete: break
    }
  }

  /// Seconds of a phase, up to the last `enter`.
  public func seconds(_ phase: Phase) -> Double { spent[phase.rawValue] }

  /// For `measurements.jsonl`.
  public func record(hasTeacher: Bool) -> [StepRecord.Extra] {
    Phase.allCases.filter { $0 != .reading && ($0 != .teacher || hasTeacher) }.map {
      StepRecord.Extra("\($0)_seconds", .number(seconds($0)))
    }
  }
}
