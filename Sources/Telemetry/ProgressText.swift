import Foundation

/// The words of the progress display: pure functions from numbers to one line. For people only; the exact
/// numbers are those of `metrics.jsonl`.
public struct ProgressText: Equatable, Sendable {
  public var step: Int
  public var steps: Int
  public var loss: Float
  /// What the loss is the sum of, if of more than one.
  public var losses: [StepRecord.Named]
  public var learningRate: Float
  public var tokensPerSecond: Double
  /// Of the job so far; nil to leave it out.
  public var meanTokensPerSecond: Double?
  /// The step of the job's last checkpoint, if there is one.
  public var savedStep: Int?
  /// nil until it can be told.
  public var secondsLeft: Double?

  /// - Parameter record: a training record, whose losses and rate are shown.
  public init(_ record: StepRecord, steps: Int, secondsLeft: Double?) {
    step = record.step
    self.steps = steps
    loss = record.loss
    losses = record.losses.count > 1 ? record.losses : []
    learningRate = record.learningRate ?? 0
    tokensPerSecond = record.tokensPerSecond
    self.secondsLeft = secondsLeft
  }

  /// One line in at most `width` columns: where it does not fit, the fields that matter least are left out.
  /// With `color` the bar is green.
  public func line(width: Int = .max, color: Bool = false) -> String {
    // Each field with its rank: the highest goes first.
    var fields: [(text: String, rank: Int)] = [
      ("step \(padded(step))/\(steps)", 0), (bar, 6), (percent, 5), ("loss \(Self.fixed(loss))", 1),
    ]
    fields += losses.enumerated().map { (Self.words($1), 7 + $0) }
    fields += [
      ("lr \(String(format: "%.2e", Double(learningRate)))", 4),
      ("\(Self.rate(tokensPerSecond)) tokens/s", 3),
    ]
    let last = 7 + losses.count
    if let meanTokensPerSecond { fields.append(("mean \(Self.rate(meanTokensPerSecond))", last + 1)) }
    if let savedStep { fields.append(("saved \(savedStep)", last)) }
    if let secondsLeft { fields.append(("\(Self.duration(secondsLeft)) left", 2)) }
    func columns() -> Int { fields.reduce(-2) { $0 + $1.text.count + 2 } }
    while columns() > width, fields.count > 1 {
      let least = fields.indices.max { fields[$0].rank < fields[$1].rank }!
      fields.remove(at: least)
    }
    let text = String(fields.map(\.text).joined(separator: "  ").prefix(max(0, width)))
    guard color, let range = text.range(of: bar) else { return text }
    return text.replacingCharacters(in: range, with: "\u{1B}[32m\(bar)\u{1B}[0m")
  }

  /// The line of an evaluation.
  public static func evaluation(_ record: StepRecord) -> String {
    var text = "evaluation after step \(record.step): loss \(fixed(record.loss))"
    if record.losses.count > 1 { text += record.losses.map { "  " + words($0) }.joined() }
    return text + record.metrics.map { "  " + words($0) }.joined()
  }

  /// `mlm 6.1234` of a loss, `mlm accuracy 12.3 %` of a share of right predictions, else the key with its value.
  private static func words(_ number: StepRecord.Named) -> String {
    let name = number.key.replacingOccurrences(of: "_", with: " ")
    if let loss = name.wholeBefore(" loss") { return "\(loss) \(fixed(number.value))" }
    return "\(name) \(name.hasSuffix("accuracy") ? share(number.value) : fixed(number.value))"
  }

  private func padded(_ step: Int) -> String {
    String(repeating: " ", count: max(0, String(steps).count - String(step).count)) + "\(step)"
  }

  private var fraction: Double { steps == 0 ? 1 : min(1, Double(step) / Double(steps)) }
  private var percent: String { "\(Int(fraction * 100)) %" }

  private var bar: String {
    let full = Int(fraction * 20)
    return "[" + String(repeating: "#", count: full) + String(repeating: "-", count: 20 - full) + "]"
  }

  private static func fixed(_ value: Float) -> String { String(format: "%.4f", Double(value)) }
  private static func share(_ value: Float) -> String { String(format: "%.1f %%", Double(value) * 100) }

  private static func rate(_ value: Double) -> String {
    value >= 10_000 ? String(format: "%.1fk", value / 1000) : String(format: "%.0f", value)
  }

  /// Seconds in the two units that suit them; a dash for what is no time.
  public static func duration(_ seconds: Double) -> String {
    guard seconds.isFinite, seconds >= 0, seconds < 1e9 else { return "-" }
    let total = Int(seconds.rounded())
    let (days, hours, minutes) = (total / 86400, total / 3600 % 24, total / 60 % 60)
    if days > 0 { return "\(days) d \(hours) h" }
    if hours > 0 { return "\(hours) h \(minutes) min" }
    return minutes > 0 ? "\(minutes) min \(total % 60) s" : "\(total) s"
  }
}

extension String {
  /// What stands before `suffix`; nil where this does not end with it.
  fileprivate func wholeBefore(_ suffix: String) -> String? {
    hasSuffix(suffix) ? String(dropLast(suffix.count)) : nil
  }
}
