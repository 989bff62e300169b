import DurableFiles

/// What is known of one optimizer step, or of the evaluation after it: a line of `metrics.jsonl`.
///
/// Every line begins with `kind`, `step` and `loss`; then come the losses of the objective (`mlm_loss`, `nsp_loss` of
/// pretraining), then `learning_rate` and `gradient_norm`, null in an evaluation, which makes no update, and
/// `tokens_per_second`. An evaluation adds the metrics of the objective (`mlm_accuracy`, `nsp_accuracy`). Then come the
/// extras in their order.
public struct StepRecord: Equatable, Sendable {
  public enum Kind: String, Sendable {
    case train
    case eval
  }

  /// A further number or text.
  public enum Value: Equatable, Sendable {
    case integer(Int)
    case number(Double)
    case text(String)
  }

  public struct Extra: Equatable, Sendable {
    public let key: String
    public let value: Value

    public init(_ key: String, _ value: Value) {
      self.key = key
      self.value = value
    }
  }

  /// A number of the objective.
  public struct Named: Equatable, Sendable {
    public let key: String
    public let value: Float

    public init(_ key: String, _ value: Float) {
      self.key = key
      self.value = value
    }
  }

  public var kind: Kind
  /// Updates done: 1 after the first one, 0 for an evaluation before it.
  public var step: Int
  public var loss: Float
  /// What it is the sum of.
  public var losses: [Named]
  public var learningRate: Float?
  /// Before clipping.
  public var gradientNorm: Float?
  public var tokensPerSecond: Double
  /// What an evaluation finds besides: shares of right predictions, say.
  public var metrics: [Named]
  public var extras: [Extra]
  /// What was measured on the way and depends on the machines or the number of ranks; it stays out of the record, which
  /// is the same for every number of ranks but for `tokens_per_second`.
  public var measured: [Extra] = []

  public init(
    kind: Kind, step: Int, loss: Float, losses: [Named], learningRate: Float?, gradientNorm: Float?,
    tokensPerSecond: Double, metrics: [Named] = [], extras: [Extra] = []
  ) {
    self.kind = kind
    self.step = step
    self.loss = loss
    self.losses = losses
    self.learningRate = learningRate
    self.gradientNorm = gradientNorm
    self.tokensPerSecond = tokensPerSecond
    self.metrics = metrics
    self.extras = extras
  }

  /// One JSON object without a line end. Floats are the shortest text that reads back to the same bits.
  public var json: String {
    func optional(_ value: Float?) -> String { value.map { JSONText.number($0) } ?? "null" }
    var fields = [
      ("kind", JSONText.quoted(kind.rawValue)), ("step", "\(step)"), ("loss", JSONText.number(loss)),
    ]
    fields += losses.map { ($0.key, JSONText.number($0.value)) }
    fields += [
      ("learning_rate", optional(learningRate)), ("gradient_norm", optional(gradientNorm)),
      ("tokens_per_second", JSONText.number(tokensPerSecond)),
    ]
    fields += metrics.map { ($0.key, JSONText.number($0.value)) }
    for extra in extras {
      precondition(
        !Self.ownKeys.contains(extra.key), "an extra called \(extra.key), which a record has anyway")
    }
    return Self.object(fields + extras.map(Self.field))
  }

  /// What was measured, as one JSON object without a line end; nil if that is nothing.
  public var measuredJSON: String? {
    measured.isEmpty ? nil : Self.object([("step", "\(step)")] + measured.map(Self.field))
  }

  private static func field(_ extra: Extra) -> (String, String) {
    switch extra.value {
    case .integer(let value): (extra.key, "\(value)")
    case .number(let value): (extra.key, JSONText.number(value))
    case .text(let value): (extra.key, JSONText.quoted(value))
    }
  }

  private static func object(_ fields: [(String, String)]) -> String {
    JSONText.object(fields)
  }
}

// MARK: - Reading

/// Why a line is no record.
struct RecordFault: Error {
  let reason: String
}

extension StepRecord {
  private static let ownKeys: Set = [
    "kind", "step", "loss", "learning_rate", "gradient_norm", "tokens_per_second",
  ]

  /// The keys that a loss or metric of an objective must not have.
  public static let reservedKeys = ownKeys.union(["samples", "skipped", "sample_ids"])

  /// Kind and step of a line as `json` writes it; nil for any other, which `init(line:)` may understand.
  ///
  /// - Cost: looks at the first keys, and the last character.
  static func head(of line: [UInt8]) -> (kind: Kind, step: Int)? {
    guard line.last == UInt8(ascii: "}") else { return nil }
    for kind in [Kind.train, .eval] {
      let prefix = "{\"kind\": \"\(kind.rawValue)\", \"step\": "
      guard line.starts(with: prefix.utf8) else { continue }
      let digits = line.dropFirst(prefix.utf8.count).prefix {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
      }
      guard line.dropFirst(prefix.utf8.count + digits.count).starts(with: ", \"loss\": ".utf8) else {
        return nil
      }
      return Int(String(decoding: digits, as: UTF8.self)).map { (kind, $0) }
    }
    return nil
  }

  /// Reads one line. An extra that is a number without point or exponent reads as an integer, and
  /// `"NaN"` or `"Infinity"` there as text.
  init(line: [UInt8]) throws(RecordFault) {
    let fields = try Self.fields(of: line)
    func value(_ key: String) throws(RecordFault) -> JSONReader.Scalar {
      guard let field = fields.first(where: { $0.key == key }) else { throw RecordFault(reason: "no \(key)") }
      return field.value
    }
    func float(_ key: String) throws(RecordFault) -> Float {
      guard let number = Self.number(try value(key), Float.self) else {
        throw RecordFault(reason: "\(key) is no number")
      }
      return number
    }
    func optionalFloat(_ key: String) throws(RecordFault) -> Float? {
      try value(key) == .null ? nil : float(key)
    }
    guard case .text(let kindName) = try value("kind"), let kind = Kind(rawValue: kindName) else {
      throw RecordFault(reason: "kind is neither train nor eval")
    }
    guard case .number(let stepText) = try value("step"), let step = Int(stepText) else {
      throw RecordFault(reason: "step is no integer")
    }
    guard let rate = Self.number(try value("tokens_per_second"), Double.self) else {
      throw RecordFault(reason: "tokens_per_second is no number")
    }
    self.kind = kind
    self.step = step
    loss = try float("loss")
    learningRate = try optionalFloat("learning_rate")
    gradientNorm = try optionalFloat("gradient_norm")
    tokensPerSecond = rate
    losses = []
    metrics = []
    extras = []
    // The losses stand before the learning rate, the metrics of an evaluation behind it.
    let rateIndex = fields.firstIndex { $0.key == "learning_rate" } ?? 0
    for (index, field) in fields.enumerated() where !Self.ownKeys.contains(field.key) {
      if index < rateIndex || kind == .eval, let number = Self.number(field.value, Float.self) {
        if index < rateIndex {
          losses.append(Named(field.key, number))
        } else {
          metrics.append(Named(field.key, number))
        }
        continue
      }
      switch field.value {
      case .text(let text): extras.append(Extra(field.key, .text(text)))
      case .number(let text):
        if let integer = Int(text) {
          extras.append(Extra(field.key, .integer(integer)))
        } else if let number = Double(text) {
          extras.append(Extra(field.key, .number(number)))
        } else {
          throw RecordFault(reason: "\(field.key) is no number")
        }
      case .null: throw RecordFault(reason: "\(field.key) is null")
      case .bool: throw RecordFault(reason: "\(field.key) is true or false")
      }
    }
  }

  /// Reads a line that `measuredJSON` wrote.
  static func measured(line: [UInt8]) throws(RecordFault) -> (step: Int, [Extra]) {
    var (step, extras): (Int?, [Extra]) = (nil, [])
    for (key, value) in try fields(of: line) {
      guard case .number(let text) = value else { continue }
      if key == "step" {
        step = Int(text)
      } else if let integer = Int(text) {
        extras.append(Extra(key, .integer(integer)))
      } else if let number = Double(text) {
        extras.append(Extra(key, .number(number)))
      }
    }
    guard let step else { throw RecordFault(reason: "no step") }
    return (step, extras)
  }

  /// The members of a flat object in their order.
  private static func fields(
    of line: [UInt8]
  ) throws(RecordFault) -> [(key: String, value: JSONReader.Scalar)] {
    do throws(JSONProblem) {
      return try JSONReader.read(line) { reader throws(JSONProblem) in
        var fields: [(key: String, value: JSONReader.Scalar)] = []
        try reader.object { reader, key throws(JSONProblem) in
          if fields.contains(where: { $0.key == key }) { throw reader.problem("\(key) stands twice") }
          fields.append((key, try reader.scalar()))
        }
        return fields
      }
    } catch {
      throw RecordFault(reason: "\(error.text) at column \(error.byte + 1)")
    }
  }

  private static func number<Number: BinaryFloatingPoint & LosslessStringConvertible>(
    _ value: JSONReader.Scalar, _: Number.Type
  ) -> Number? {
    switch value {
    case .number(let text): Number(text)
    case .text("NaN"): .nan
    case .text("Infinity"): .infinity
    case .text("-Infinity"): -.infinity
    case .text, .bool, .null: nil
    }
  }
}
