/// How predictions are judged against what is right, as scikit-learn and SciPy define it.
public enum Metric: String, CaseIterable, Sendable {
  /// Of classes.
  case accuracy
  /// Of class 1 against all others; 0 where nothing is predicted and nothing is of that class.
  case f1
  /// The mean of each class's F1, over the classes that are predicted or right anywhere.
  case macroF1 = "macro_f1"
  /// Matthews' correlation coefficient, of any number of classes (Gorodkin 2004); 0 where a side has one class only.
  case matthews
  /// Of numbers; not a number where a side is constant.
  case pearson
  /// Pearson's of the ranks; equal numbers have the mean of their ranks.
  case spearman

  /// Whether it is of numbers, not of classes.
  public var isOfNumbers: Bool { self == .pearson || self == .spearman }

  /// - Parameters:
  ///   - predicted, actual: numbers of classes, or numbers (`isOfNumbers`); as many.
  /// - Precondition: there is at least one.
  public func value(predicted: [Double], actual: [Double]) -> Double {
    precondition(
      predicted.count == actual.count && !actual.isEmpty, "\(predicted.count) predictions of \(actual.count)")
    switch self {
    case .pearson: return Self.correlation(predicted, actual)
    case .spearman: return Self.correlation(Self.ranks(predicted), Self.ranks(actual))
    case .accuracy, .f1, .macroF1, .matthews:
      return ofClasses(ConfusionTable(predicted: predicted.map { Int($0) }, actual: actual.map { Int($0) }))
    }
  }

  private func ofClasses(_ table: ConfusionTable) -> Double {
    let classes = 0..<table.classes
    switch self {
    case .accuracy: return Double(table.right) / Double(table.count)
    case .f1: return table.classes > 1 ? table.f1(1) : 0
    case .macroF1:
      let present = classes.filter { table.predicted[$0] + table.actual[$0] > 0 }
      return present.reduce(0) { $0 + table.f1($1) } / Double(present.count)
    default:
      let (count, right) = (Double(table.count), Double(table.right))
      func sum(_ a: [Int], _ b: [Int]) -> Double { classes.reduce(0) { $0 + Double(a[$1]) * Double(b[$1]) } }
      let above = right * count - sum(table.predicted, table.actual)
      let ofPredicted = count * count - sum(table.predicted, table.predicted)
      let ofActual = count * count - sum(table.actual, table.actual)
      return ofPredicted * ofActual == 0 ? 0 : above / (ofPredicted * ofActual).squareRoot()
    }
  }

  /// Pearson's, in two passes; kept within ±1.
  private static func correlation(_ x: [Double], _ y: [Double]) -> Double {
    // The mean of equal numbers may be rounded, and then the differences are not zero.
    if x.allSatisfy({ $0 == x[0] }) || y.allSatisfy({ $0 == y[0] }) { return .nan }
    let count = Double(x.count)
    let (meanX, meanY) = (x.reduce(0, +) / count, y.reduce(0, +) / count)
    var (xx, yy, xy) = (0.0, 0.0, 0.0)
    for (a, b) in zip(x, y) {
      let (dx, dy) = (a - meanX, b - meanY)
      xx += dx * dx
      yy += dy * dy
      xy += dx * dy
    }
    if xx == 0 || yy == 0 { return .nan }
    return min(1, max(-1, xy / (xx.squareRoot() * yy.squareRoot())))
  }

  /// The rank of each number from 1, equal ones with the mean of theirs.
  static func ranks(_ x: [Double]) -> [Double] {
    if x.contains(where: \.isNaN) { return x.map { _ in .nan } }
    let order = x.indices.sorted { (x[$0], $0) < (x[$1], $1) }
    var ranks = [Double](repeating: 0, count: x.count)
    var first = 0
    while first < order.count {
      var end = first
      while end < order.count, x[order[end]] == x[order[first]] { end += 1 }
      for index in order[first..<end] { ranks[index] = Double(first + end + 1) / 2 }
      first = end
    }
    return ranks
  }
}

/// How often which class is predicted where which is right, as far as metrics need it.
private struct ConfusionTable {
  let count: Int
  let classes: Int
  let right: Int
  /// Of each class: rows predicted, rows that are of it, and both.
  let predicted: [Int]
  let actual: [Int]
  let both: [Int]

  init(predicted: [Int], actual: [Int]) {
    let classes = 1 + max(predicted.max() ?? 0, actual.max() ?? 0)
    var (p, a, b) = (
      [Int](repeating: 0, count: classes), [Int](repeating: 0, count: classes),
      [Int](repeating: 0, count: classes)
    )
    for (found, wanted) in zip(predicted, actual) {
      p[found] += 1
      a[wanted] += 1
      if found == wanted { b[found] += 1 }
    }
    count = actual.count
    self.classes = classes
    right = b.reduce(0, +)
    self.predicted = p
    self.actual = a
    both = b
  }

  /// 2·both / (predicted + actual); 0 where that is 0/0.
  func f1(_ index: Int) -> Double {
    let sum = predicted[index] + actual[index]
    return sum == 0 ? 0 : 2 * Double(both[index]) / Double(sum)
  }
}
