import Foundation

/// The losses of the last steps that were done, to tell a spike. Saved with the run, so that one that is resumed skips the
/// same steps.
struct LossWindow: Equatable {
  static let length = 64
  /// Fewer losses than this make no spike.
  static let fewest = 8

  private(set) var losses: [Double] = []

  init() {}

  /// - Parameter text: what `text` gave; anything else makes an empty window.
  init(text: String) { losses = text.split(separator: " ").compactMap { Double($0) } }

  /// Each loss as the shortest text that reads back to the same bits.
  var text: String { losses.map { "\($0)" }.joined(separator: " ") }

  mutating func append(_ loss: Double) {
    losses.append(loss)
    if losses.count > Self.length { losses.removeFirst() }
  }

  /// How many standard deviations `loss` lies above the mean of the window; nil while that holds too few losses, or all
  /// are equal.
  func zScore(_ loss: Double) -> Double? {
    guard losses.count >= Self.fewest else { return nil }
    let count = Double(losses.count)
    let mean = losses.reduce(0, +) / count
    let variance = losses.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / (count - 1)
    return variance > 0 ? (loss - mean) / variance.squareRoot() : nil
  }
}
