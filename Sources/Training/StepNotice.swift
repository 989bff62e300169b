import Coordinator
import Foundation
import Planning

/// What a rank tells the others once a step, in one word that travels with the losses: a stop signal that reached it,
/// whether its time is up, and how its part of a checkpoint stands.
struct StepNotice: Equatable {
  var signal: UInt8 = 0
  var isTimeUp = false
  var checkpoint: UInt8 = 0

  init(signal: UInt8 = 0, isTimeUp: Bool = false, checkpoint: UInt8 = 0) {
    self.signal = signal
    self.isTimeUp = isTimeUp
    self.checkpoint = checkpoint
  }

  init(word: UInt64) {
    signal = UInt8(truncatingIfNeeded: word)
    isTimeUp = word >> 8 & 1 == 1
    checkpoint = UInt8(truncatingIfNeeded: word >> 16)
  }

  var word: UInt64 { UInt64(signal) | (isTimeUp ? 1 << 8 : 0) | UInt64(checkpoint) << 16 }
}

/// Wall clock that a job may use (`stop_after`), what it takes to save the run counted in.
struct StopClock {
  private let start: ContinuousClock.Instant
  private let limit: Int?
  /// Seconds that a checkpoint takes: a guess until one was measured.
  private var saving: Double
  /// The longest step so far: one more will be done after the clock has been looked at.
  private var step = 0.0

  /// - Parameter bytes: size of a checkpoint.
  init(start: ContinuousClock.Instant, limit: Int?, bytes: Int) {
    self.start = start
    self.limit = limit
    // 100 MB/s until it is known better.
    saving = Double(bytes) / 100e6
  }

  private var hasMeasured = false

  mutating func noteCheckpoint(seconds: Double) {
    saving = hasMeasured ? max(saving, seconds) : seconds
    hasMeasured = true
  }

  mutating func noteStep(seconds: Double) { step = max(step, seconds) }

  /// Time to stop: after one more step and half as much again as a checkpoint takes, the limit is reached.
  var isTimeUp: Bool {
    guard let limit else { return false }
    return start.secondsUntilNow + step + 1.5 * saving >= Double(limit)
  }
}
