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
