/// A curve that is drawn with some 1,000 points however long it is: of each stretch of steps the least and the greatest value.
///
/// - Cost: memory of twice the points; each value is looked at once, and seldom again.
struct Curve {
  struct Point: Equatable {
    var step: Int
    var value: Double
  }

  /// Stretches, of two points each.
  private static let limit = 512

  private struct Stretch {
    var least: Point
    var greatest: Point

    mutating func add(_ other: Stretch) {
      if other.least.value < least.value { least = other.least }
      if other.greatest.value > greatest.value { greatest = other.greatest }
    }
  }

  private var stretches: [Stretch] = []
  /// Values of a whole stretch, and of the last one so far.
  private var width = 1
  private var filled = 0
  /// Values that are no numbers: gaps of the curve.
  private(set) var gaps = 0
  private(set) var first: Point?
  private(set) var last: Point?

  mutating func add(step: Int, _ value: Double) {
    guard value.isFinite else {
      gaps += 1
      return
    }
    let point = Point(step: step, value: value)
    if first == nil { first = point }
    last = point
    let own = Stretch(least: point, greatest: point)
    if filled == 0 || filled == width {
      if stretches.count == Self.limit { join() }
      // After the joining the last stretch may have room.
      if filled == 0 || filled == width {
        stretches.append(own)
        filled = 1
        return
      }
    }
    stretches[stretches.count - 1].add(own)
    filled += 1
  }

  /// Makes one stretch of two.
  private mutating func join() {
    stretches = stride(from: 0, to: stretches.count, by: 2).map { index in
      var both = stretches[index]
      if index + 1 < stretches.count { both.add(stretches[index + 1]) }
      return both
    }
    width *= 2
    filled = width
  }

  /// In the order of their steps.
  var points: [Point] {
    stretches.flatMap { stretch in
      stretch.least == stretch.greatest
        ? [stretch.least] : [stretch.least, stretch.greatest].sorted { $0.step < $1.step }
    }
  }
}
