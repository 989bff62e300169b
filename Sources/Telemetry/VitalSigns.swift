import DurableFiles

/// The vital signs of binary training at one step: what tells early whether it is healthy. The same for every number of ranks.
///
/// Legend: L layers.
public struct VitalSigns: Equatable, Sendable {
  /// Updates done.
  public var step: Int
  /// Share of the binary weights whose sign is another than when they were last looked at, a layer; nil the first time a job
  /// looks.
  public var flipped: [Float]?
  /// α of each binariser by its name.
  public var stepSizes: [(name: String, value: Float)]
  /// Share of the inputs of the linear layers and of Q, K, V whose gradient is cut off, a layer: |x + b| beyond the window.
  public var clipped: [Float]
  /// Share of the probabilities that are ones, padding left out, a layer.
  public var attentionOnes: [Float]
  /// ‖S_est‖ / ‖QKᵀ − Q_b K_bᵀ‖ as softmax sees both, a layer; empty without estimators.
  public var estimateRatio: [Float]
  /// Of each layer's binary weights how many are so far from their matrix's mean, in 30 buckets of a tenth of mean|w|, the last
  /// for all beyond.
  public var distances: [[Int]]

  public init(
    step: Int, flipped: [Float]?, stepSizes: [(name: String, value: Float)], clipped: [Float],
    attentionOnes: [Float], estimateRatio: [Float], distances: [[Int]]
  ) {
    (self.step, self.flipped, self.stepSizes, self.clipped) = (step, flipped, stepSizes, clipped)
    (self.attentionOnes, self.estimateRatio, self.distances) = (attentionOnes, estimateRatio, distances)
  }

  public static func == (a: VitalSigns, b: VitalSigns) -> Bool { a.json == b.json }

  /// A line of `vitals.jsonl`, without its end.
  public var json: String {
    func list(_ values: [Float]) -> String {
      "[\(values.map { JSONText.number($0) }.joined(separator: ", "))]"
    }
    return JSONText.object([
      ("step", "\(step)"), ("flipped", flipped.map(list) ?? "null"),
      ("step_sizes", JSONText.object(stepSizes.map { ($0.name, JSONText.number($0.value)) })),
      ("clipped", list(clipped)), ("attention_ones", list(attentionOnes)),
      ("estimate_ratio", list(estimateRatio)),
      (
        "distances",
        "[\(distances.map { "[\($0.map { "\($0)" }.joined(separator: ", "))]" }.joined(separator: ", "))]"
      ),
    ])
  }
}

extension VitalSigns {
  /// Reads a line that `json` wrote.
  init(line: [UInt8]) throws(RecordFault) {
    do throws(JSONProblem) {
      self = try JSONReader.read(line) { reader throws(JSONProblem) in try VitalSigns(&reader) }
    } catch { throw RecordFault(reason: "\(error.text) at column \(error.byte + 1)") }
  }

  private init(_ reader: inout JSONReader) throws(JSONProblem) {
    self.init(
      step: -1, flipped: nil, stepSizes: [], clipped: [], attentionOnes: [], estimateRatio: [], distances: [])
    var own = self
    try reader.object { reader, key throws(JSONProblem) in
      switch key {
      case "step": own.step = try reader.wholeNumber()
      case "flipped": own.flipped = try Self.optionalNumbers(&reader)
      case "clipped": own.clipped = try Self.numbers(&reader)
      case "attention_ones": own.attentionOnes = try Self.numbers(&reader)
      case "estimate_ratio": own.estimateRatio = try Self.numbers(&reader)
      case "step_sizes":
        try reader.object { reader, name throws(JSONProblem) in
          own.stepSizes.append((name, try Self.number(&reader)))
        }
      case "distances":
        try reader.array { reader throws(JSONProblem) in own.distances.append(try reader.wholeNumbers()) }
      default: try reader.skip()
      }
    }
    if own.step < 0 { throw reader.problem("no step") }
    self = own
  }

  private static func number(_ reader: inout JSONReader) throws(JSONProblem) -> Float {
    switch try reader.scalar() {
    case .number(let text): if let value = Float(text) { return value }
    case .text("NaN"): return .nan
    case .text("Infinity"): return .infinity
    case .text("-Infinity"): return -.infinity
    default: break
    }
    throw reader.problem("a number expected")
  }

  private static func numbers(_ reader: inout JSONReader) throws(JSONProblem) -> [Float] {
    var values: [Float] = []
    try reader.array { reader throws(JSONProblem) in values.append(try number(&reader)) }
    return values
  }

  private static func optionalNumbers(_ reader: inout JSONReader) throws(JSONProblem) -> [Float]? {
    // null, or a list.
    if reader.acceptsNull() { return nil }
    return try numbers(&reader)
  }
}
