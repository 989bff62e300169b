import BinaryModel
import Dispatch
import Foundation
import Synchronization
import Testing
import Training

/// Batches that tell their step and lane, from a source that the tests can look at.
private final class Source: Sendable {
  private let made = Mutex<[[Int]]>([])
  private let prefetched = Mutex<[[Int]]>([])

  /// Step and lane of every batch made, in order.
  var order: [[Int]] { made.withLock { $0 } }
  var advice: [[Int]] { prefetched.withLock { $0 } }

  func prefetch(_ step: Int, _ lane: Int) { prefetched.withLock { $0.append([step, lane]) } }

  func make(_ step: Int, _ lane: Int) -> PretrainingBatch {
    made.withLock { $0.append([step, lane]) }
    return Self.batch(step, lane)
  }

  static func batch(_ step: Int, _ lane: Int) -> PretrainingBatch {
    PretrainingBatch(
      sequences: 1, length: 2, inputIDs: [Int32(step), Int32(lane)], tokenTypeIDs: [0, 0], lengths: [2],
      labels: [PretrainingLabels.ignored, PretrainingLabels.ignored], nextSentenceLabels: [0],
      sampleIDs: [UInt64(100 * step + lane)],
      epoch: 0)
  }
}

struct BatchReadAheadTests {
  private static let lanes = 3..<6

  private func expect(_ batches: [PretrainingBatch], step: Int, location: SourceLocation = #_sourceLocation) {
    #expect(
      batches.map(\.tokens.inputIDs) == Self.lanes.map { [Int32(step), Int32($0)] }, sourceLocation: location)
    #expect(
      batches.map(\.tokens.sampleIDs) == Self.lanes.map { [UInt64(100 * step + $0)] },
      sourceLocation: location)
  }

  private static func order(_ steps: ClosedRange<Int>) -> [[Int]] {
    steps.flatMap { step in lanes.map { [step, $0] } }
  }

  /// Nobody asks for the batches of the next steps, and they are made; no more than that, and none beyond the last step.
  @Test func theNextStepsAreReadyAhead() throws {
    let source = Source()
    let ahead = BatchReadAhead<PretrainingLabels>.preparedSteps
    let isMade = DispatchSemaphore(value: 0)
    var batches = BatchReadAhead(lanes: Self.lanes, lastStep: 20) {
      source.prefetch($0, $1)
    } make: {
      step, lane in
      defer { if lane == Self.lanes.upperBound - 1 { isMade.signal() } }
      return source.make(step, lane)
    }
    for step in 1...20 {
      expect(try batches.take(step: step), step: step)
      let last = min(20, step + ahead)
      // What was not made before is made now; a minute is for ever.
      for _ in (step == 1 ? 1 : min(21, step + ahead))..<last + 1 {
        #expect(isMade.wait(timeout: .now() + 60) == .success, "step \(step)")
      }
      #expect(source.order == Self.order(1...last))
    }
    #expect(source.advice == Self.order(1 + BatchReadAhead<PretrainingLabels>.prefetchedSteps...20))
  }

  /// A source that takes its time, now and then more than a step.
  @Test func aSlowSourceChangesNothing() throws {
    let source = Source()
    let pauses: [UInt32] = [0, 3_000, 100, 0, 9_000, 0, 0, 1_000]
    var batches = BatchReadAhead(lanes: Self.lanes, lastStep: 12) {
      source.prefetch($0, $1)
    } make: {
      step, lane in
      usleep(pauses[(5 * step + lane) % pauses.count])
      return source.make(step, lane)
    }
    for step in 1...12 { expect(try batches.take(step: step), step: step) }
    #expect(source.order == Self.order(1...12))
  }

  /// What goes wrong ahead shows in the step that it belongs to, and in no other.
  @Test func anErrorBelongsToItsStep() throws {
    let source = Source()
    var batches = BatchReadAhead(lanes: Self.lanes, lastStep: 9) {
      source.prefetch($0, $1)
    } make: {
      step, lane throws(TrainingError) in
      if step == 4 && lane == 4 { throw .unreadable(path: "shard", reason: "lane 4 of step 4") }
      return source.make(step, lane)
    }
    for step in 1...9 {
      if step == 4 {
        #expect { _ = try batches.take(step: step) } throws: { "\($0)".contains("lane 4 of step 4") }
      } else {
        expect(try batches.take(step: step), step: step)
      }
    }
  }

  /// A run that is resumed begins in the middle.
  @Test func itBeginsAtAnyStep() throws {
    let source = Source()
    var batches = BatchReadAhead(lanes: Self.lanes, lastStep: 9) {
      source.prefetch($0, $1)
    } make: {
      source.make($0, $1)
    }
    expect(try batches.take(step: 7), step: 7)
    expect(try batches.take(step: 9), step: 9)
    #expect(source.order == Self.order(7...9))
  }
}
