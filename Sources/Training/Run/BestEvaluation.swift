import DurableFiles
import Telemetry

/// Which evaluation of a run is the best so far.
///
/// One is judged by its first metric, the larger the better (of a task by the task's first one, of MNLI on the matched rows),
/// or where it has none by its loss, the smaller the better. Better means strictly so: of equal ones the earlier stays the
/// best. What is not a number, as a correlation with what is constant, is never better. That before the first update does not
/// count.
struct BestEvaluation: Equatable {
  /// Updates done when it was made; nil before there was one.
  private(set) var step: Int?
  private var score = -Float.infinity
  /// Evaluations since then, none of which was better.
  private(set) var since = 0

  init() {}

  /// Another evaluation; returns whether it is the best so far.
  mutating func note(_ evaluation: StepRecord) -> Bool {
    guard evaluation.step > 0 else { return false }
    let found = evaluation.metrics.first?.value ?? -evaluation.loss
    guard found > score else {
      since += 1
      return false
    }
    (step, score, since) = (evaluation.step, found, 0)
    return true
  }

  // MARK: In a checkpoint

  private static let stepKey = "best_step"
  private static let scoreKey = "best_score"
  private static let sinceKey = "evaluations_since_best"

  /// Of the further values of a checkpoint; none yet where they do not tell.
  init(values: [String: String]) {
    since = values[Self.sinceKey].flatMap { Int($0) } ?? 0
    guard let step = values[Self.stepKey].flatMap({ Int($0) }),
      let score = values[Self.scoreKey].flatMap({ Float($0) })
    else { return }
    (self.step, self.score) = (step, score)
  }

  var values: [String: String] {
    var values = [Self.sinceKey: "\(since)"]
    if let step { values.merge([Self.stepKey: "\(step)", Self.scoreKey: JSONText.number(score)]) { $1 } }
    return values
  }
}
