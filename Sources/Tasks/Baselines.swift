import Foundation

/// What knows nothing of a text: the class that most of the training rows have (of equally frequent ones the first), or the
/// mean of their numbers.
public struct Majority: Sendable {
  public let prediction: Double

  /// - Precondition: there is at least one row.
  public init(targets: [Float], task: TaskDefinition.Target) {
    precondition(!targets.isEmpty, "no rows")
    switch task {
    case .number: prediction = targets.reduce(0) { $0 + Double($1) } / Double(targets.count)
    case .classes:
      let counts = Dictionary(grouping: targets, by: { $0 }).mapValues(\.count)
      prediction = Double(counts.max { ($0.value, -$0.key) < ($1.value, -$1.key) }!.key)
    }
  }
}

/// A linear model of which tokens a row has: those of each text, those that both have, and how many both have. It knows no
/// order of words. Five passes over the rows in their order with AdaGrad (Duchi et al. 2011), from zero, so the same rows
/// always give the same model. Of more than `rowLimit` rows it sees so many, evenly spread.
public struct BagOfTokens: Sendable {
  /// The most rows that it learns from: its cost is bounded, and more of them hardly make it better.
  public static let rowLimit = 100_000
  private static let passes = 5
  private static let rate = 0.5
  private let outputs: Int
  private let isNumber: Bool
  private let vocabularySize: Int
  /// features×outputs.
  private var weights: [Double]
  private var squares: [Double]
  /// What numbers are counted from, and in.
  private var center = 0.0
  private var scale = 1.0

  /// - Parameters:
  ///   - rows: one or two sequences of tokens each, of a vocabulary of `vocabularySize`.
  ///   - classes: 0 where targets are numbers.
  ///   - touch: called on the way, as a sign of life.
  /// - Cost: passes · tokens · classes; memory for the features of the rows.
  public init(
    rows: [[[Int32]]], targets: [Float], classes: Int, vocabularySize: Int, touch: () -> Void = {}
  ) {
    precondition(rows.count == targets.count && !rows.isEmpty, "\(rows.count) rows, \(targets.count) targets")
    isNumber = classes == 0
    outputs = max(1, classes)
    self.vocabularySize = vocabularySize
    // Of the first text, the second, both; the share that both have; 1.
    weights = Array(repeating: 0, count: (3 * vocabularySize + 2) * outputs)
    squares = Array(repeating: 1e-8, count: weights.count)
    if isNumber {
      let values = targets.map { Double($0) }
      center = values.reduce(0, +) / Double(values.count)
      let variance = values.reduce(0) { $0 + ($1 - center) * ($1 - center) } / Double(values.count)
      scale = variance > 0 ? variance.squareRoot() : 1
    }
    let count = min(rows.count, Self.rowLimit)
    let chosen = (0..<count).map { $0 * rows.count / count }
    let learned = chosen.map { (features: features(rows[$0]), target: Double(targets[$0])) }
    for _ in 0..<Self.passes {
      for (index, row) in learned.enumerated() {
        if index % 1000 == 0 { touch() }
        learn(row.features, row.target)
      }
    }
  }

  /// The class, or the number, that the model gives a row.
  public func predict(_ row: [[Int32]]) -> Double {
    let found = scores(features(row))
    if isNumber { return center + scale * found[0] }
    return Double(found.indices.max { (found[$0], -$0) < (found[$1], -$1) }!)
  }

  /// One of those that a row has.
  private typealias Feature = (index: Int32, value: Float)

  private func features(_ row: [[Int32]]) -> [Feature] {
    let size = Int32(vocabularySize)
    let sets = row.map(Self.distinct)
    var features: [Feature] = []
    for (part, tokens) in sets.enumerated() {
      let value = 1 / Float(max(1, tokens.count)).squareRoot()
      features += tokens.map { (Int32(part) * size + $0, value) }
    }
    if sets.count == 2 {
      let both = Self.common(sets[0], sets[1])
      let value = 1 / Float(max(1, both.count)).squareRoot()
      features += both.map { (2 * size + $0, value) }
      let all = sets[0].count + sets[1].count - both.count
      features.append((3 * size, Float(both.count) / Float(max(1, all))))
    }
    return features + [(3 * size + 1, 1)]
  }

  /// Each token once, in ascending order.
  private static func distinct(_ tokens: [Int32]) -> [Int32] {
    var distinct: [Int32] = []
    for token in tokens.sorted() where token != distinct.last { distinct.append(token) }
    return distinct
  }

  /// What two ascending lists have in common.
  private static func common(_ first: [Int32], _ second: [Int32]) -> [Int32] {
    var (both, place): ([Int32], Int) = ([], 0)
    for token in first {
      while place < second.count, second[place] < token { place += 1 }
      if place < second.count, second[place] == token { both.append(token) }
    }
    return both
  }

  private func scores(_ features: [Feature]) -> [Double] {
    var scores = [Double](repeating: 0, count: outputs)
    for (index, value) in features {
      for output in 0..<outputs { scores[output] += Double(value) * weights[Int(index) * outputs + output] }
    }
    return scores
  }

  private mutating func learn(_ features: [Feature], _ target: Double) {
    var gradient = scores(features)
    if isNumber {
      gradient[0] -= (target - center) / scale
    } else {
      let highest = gradient.max()!
      gradient = gradient.map { exp($0 - highest) }
      let sum = gradient.reduce(0, +)
      gradient = gradient.map { $0 / sum }
      gradient[Int(target)] -= 1
    }
    for (index, value) in features {
      for output in 0..<outputs {
        let (place, step) = (Int(index) * outputs + output, Double(value) * gradient[output])
        squares[place] += step * step
        weights[place] -= Self.rate * step / squares[place].squareRoot()
      }
    }
  }
}
