/// The losses of an objective and what goes with them: sums with what they are sums over, by the keys of `metrics.jsonl`.
/// Over one micro-batch or, added in order, over many.
public struct LossTerms: Equatable, Sendable {
  /// What a term is for.
  public enum Role: Equatable, Sendable {
    /// Its mean is part of the loss.
    case loss
    /// Its mean is part of the loss too; it measures the distance from a teacher.
    case distillation
    /// Its mean is a share (of right predictions) that evaluations record.
    case share
  }

  public struct Term: Equatable, Sendable {
    public let key: String
    public let role: Role
    /// What its mean is multiplied by in the loss.
    public let weight: Float
    /// Over `count` tokens, sequences or elements.
    public fileprivate(set) var sum = 0.0
    public fileprivate(set) var count = 0

    /// 0 where nothing counts.
    public var mean: Double { count == 0 ? 0 : sum / Double(count) }
  }

  /// In the order in which the means are added.
  public private(set) var terms: [Term]

  /// All sums zero.
  public init(
    losses: [String], distillation: [String], shares: [String], weight: (_ key: String) -> Float = { _ in 1 }
  ) {
    terms =
      losses.map { Term(key: $0, role: .loss, weight: weight($0)) }
      + distillation.map { Term(key: $0, role: .distillation, weight: weight($0)) }
      + shares.map { Term(key: $0, role: .share, weight: 0) }
  }

  /// Adds to the term called `key`, which there is.
  public mutating func add(_ key: String, sum: Double, count: Int) {
    let index = index(of: key)
    terms[index].sum += sum
    terms[index].count += count
  }

  /// Adds sums of the same objective.
  public static func += (sum: inout LossTerms, other: LossTerms) {
    precondition(sum.terms.count == other.terms.count, "the losses of two objectives")
    for index in sum.terms.indices {
      sum.terms[index].sum += other.terms[index].sum
      sum.terms[index].count += other.terms[index].count
    }
  }

  /// The same terms, all zero.
  public var zero: LossTerms {
    var zero = self
    for index in terms.indices {
      zero.terms[index].sum = 0
      zero.terms[index].count = 0
    }
    return zero
  }

  /// The mean of the term called `key`; 0 where this objective has none.
  public subscript(_ key: String) -> Double { terms.first { $0.key == key }?.mean ?? 0 }

  /// The term called `key`, which there is.
  public func term(_ key: String) -> Term { terms[index(of: key)] }

  /// The weighted sum of all means but the shares (METHOD, "Objective").
  public var total: Double {
    terms.reduce(0) { $1.role == .share ? $0 : $0 + Double($1.weight) * $1.mean }
  }

  private func index(of key: String) -> Int {
    guard let index = terms.firstIndex(where: { $0.key == key }) else {
      preconditionFailure("no term \(key) among \(terms.map(\.key))")
    }
    return index
  }

  // MARK: As words that ranks exchange

  /// Two words a term.
  public var words: [UInt64] { terms.flatMap { [$0.sum.bitPattern, UInt64(bitPattern: Int64($0.count))] } }

  /// The sums that `words` gave, of the same objective.
  public mutating func read(words: [UInt64]) {
    precondition(words.count == 2 * terms.count, "\(words.count) words for \(terms.count) terms")
    for index in terms.indices {
      terms[index].sum = Double(bitPattern: words[2 * index])
      terms[index].count = Int(Int64(bitPattern: words[2 * index + 1]))
    }
  }
}

/// What the losses of a step are divided by: counts over the global batch, known before backward, so that lanes can be
/// added up.
public struct LossDivisors: Equatable, Sendable {
  public let sequences: Int
  /// Of each loss of the objective, in their order.
  public let counts: [Int]

  public init(sequences: Int, counts: [Int]) {
    precondition(sequences > 0 && !counts.contains { $0 < 0 }, "\(counts) in \(sequences) sequences")
    self.sequences = sequences
    self.counts = counts
  }

  /// The divisor of loss number `index`; 1 where nothing counts, since then there is nothing to divide.
  public func count(_ index: Int) -> Int { max(1, counts[index]) }
}
