/// The power of two of each piece of a gradient: what its integers are multiples of. Part of the state of a run, the same on all
/// ranks.
///
/// A step's total of a piece is bounded by the sum over lanes of the lane's largest magnitude (`SumBounds`), known before the
/// exchange. If the bound does not fit, the power is raised and the step's sums are made again; else the next step's power
/// follows from it, so that `headroom` bits are left free:
///
///     wanted = power + ⌈log₂(bound · 2^headroom / largest)⌉
///     power ← wanted     where that is larger
///     power ← power − 1  where it is smaller, at every 16th step
///
/// So it rises at once and falls slowly. In a table of words, whose rows have now a large gradient and now almost none, no power is
/// more than `tableSpread` below the largest one, so that a row may at any time come to half of what the largest has. A bound of zero says nothing and leaves the power as it is. Of a run that begins nothing is
/// known: the sums of its first step are made twice, the second time with what the first told.
public struct SumPowers: Equatable, Sendable {
  /// Free bits above the bound of the last step.
  public static let headroom = 2
  /// How far the powers of a table may be apart.
  static let tableSpread: Int8 = 3
  /// Steps between two falls.
  static let fallEvery = 16
  /// Of a piece about which nothing is known: with it most gradients can be told from 0 and bounded.
  static let unknown: Int8 = -36
  /// Both ends leave float32 numbers normal, also times or over the largest integer.
  static let lowest = -110
  static let highest = 90

  /// Of each piece.
  public private(set) var exponents: [Int8]
  /// Whether they come from gradients.
  public private(set) var isKnown: Bool

  /// Of `count` pieces about which nothing is known.
  public init(count: Int) {
    exponents = [Int8](repeating: Self.unknown, count: count)
    isKnown = false
  }

  /// What `exponents` was before; nil if that is not a power of a sum.
  public init?(exponents: [Int8]) {
    guard exponents.allSatisfy({ (Self.lowest...Self.highest).contains(Int($0)) }) else { return nil }
    self.exponents = exponents
    isKnown = true
  }

  /// Makes all powers smaller by as much, as far as they go; for tests.
  public mutating func lower(by difference: Int) {
    for piece in exponents.indices { exponents[piece] = Int8(max(self[piece] - difference, Self.lowest)) }
  }

  /// As text: exponents in order, `EXPONENT*COUNT` where some follow each other.
  public var text: String {
    var words: [String] = []
    var start = 0
    while start < exponents.count {
      let end = exponents[start...].firstIndex { $0 != exponents[start] } ?? exponents.count
      words.append(end - start == 1 ? "\(exponents[start])" : "\(exponents[start])*\(end - start)")
      start = end
    }
    return words.joined(separator: " ")
  }

  /// Reads such a text; nil for any other, or not of `count` pieces.
  public init?(text: String, count: Int) {
    var exponents: [Int8] = []
    for word in text.split(separator: " ") {
      let parts = word.split(separator: "*", omittingEmptySubsequences: false)
      guard parts.count <= 2, let exponent = Int8(parts[0]), let times = parts.count == 1 ? 1 : Int(parts[1]),
        times > 0, times <= count - exponents.count
      else { return nil }
      exponents += repeatElement(exponent, count: times)
    }
    guard exponents.count == count else { return nil }
    self.init(exponents: exponents)
  }

  public subscript(piece: Int) -> Int { Int(exponents[piece]) }

  /// Whether the sums have to be made again with the powers as they are now: the bound of the total of some piece does not fit, or
  /// nothing was known of the powers.
  ///
  /// A step of V lanes comes to an end if V is at most `largest`: no lane's magnitude is less than 1.
  ///
  /// - Parameters:
  ///   - bounds: of all lanes, the same on every rank; finite.
  ///   - pieces: of this many powers.
  ///   - largest: `SummedInteger.largestTotal`.
  public mutating func raise(for bounds: SumBounds, pieces: SumPieces, largest: UInt64) -> Bool {
    var isRaised = !isKnown
    for piece in exponents.indices where bounds.magnitudes[piece] > (isKnown ? largest : 0) {
      let wanted = wanted(piece, bounds, largest)
      precondition(
        wanted > self[piece] || !isKnown,
        "no power is large enough for a bound of \(bounds.magnitudes[piece])")
      exponents[piece] = Int8(wanted)
      isRaised = true
    }
    isKnown = true
    if isRaised { lift(pieces) }
    return isRaised
  }

  /// The powers of the next step, after the step number `step`, whose bounds fit.
  public mutating func follow(_ bounds: SumBounds, pieces: SumPieces, largest: UInt64, step: Int) {
    for piece in exponents.indices where bounds.magnitudes[piece] > 0 {
      let wanted = wanted(piece, bounds, largest)
      if wanted > self[piece] {
        exponents[piece] = Int8(wanted)
      } else if wanted < self[piece], step % Self.fallEvery == 0 {
        exponents[piece] -= 1
      }
    }
    lift(pieces)
  }

  /// Keeps the powers of a table together.
  private mutating func lift(_ pieces: SumPieces) {
    for table in pieces.tables {
      let least = exponents[table].max()! - Self.tableSpread
      for piece in table { exponents[piece] = max(exponents[piece], least) }
    }
  }

  /// The smallest power with which the bound leaves the headroom free.
  private func wanted(_ piece: Int, _ bounds: SumBounds, _ largest: UInt64) -> Int {
    let room = largest >> UInt64(Self.headroom)
    var (bound, exponent) = (bounds.magnitudes[piece], self[piece])
    // Lanes' magnitudes are rounded up, which may come to one more a lane: the headroom takes that.
    while bound > room {
      bound = (bound + 1) / 2
      exponent += 1
    }
    while bound > 0, bound <= room / 2 {
      bound *= 2
      exponent -= 1
    }
    return min(max(exponent, Self.lowest), Self.highest)
  }
}

/// What bounds the total of each piece, in multiples of its power: the sum over lanes of the lane's largest magnitude, rounded
/// up. Integers, so the same in whatever order they are added.
public struct SumBounds: Equatable, Sendable {
  /// A magnitude beyond this counts as this: far beyond any total that fits, and sums of it do not overflow.
  static let largestMagnitude = 0x1p44
  /// A gradient from here on counts as not finite: added up over the lanes it might fit no power.
  static let overflow: Float = 0x1p80

  /// Of each piece.
  public private(set) var magnitudes: [UInt64]
  /// Pieces of lanes with an element that is not finite, or too large for any power.
  public private(set) var notFinite: UInt64 = 0

  /// Of no lane.
  public init(count: Int) { magnitudes = [UInt64](repeating: 0, count: count) }

  public var isFinite: Bool { notFinite == 0 }

  /// Forgets all lanes.
  public mutating func clear() {
    for piece in magnitudes.indices { magnitudes[piece] = 0 }
    notFinite = 0
  }

  /// A lane, of whose piece the largest magnitude is `largest`.
  public mutating func add(_ largest: Float, piece: Int, power: Int) {
    guard largest < Self.overflow else {
      notFinite += 1
      return
    }
    let multiple = Double(sign: .plus, exponent: -power, significand: Double(largest)).rounded(.up)
    magnitudes[piece] += UInt64(min(multiple, Self.largestMagnitude))
  }

  /// All that there is, as words that add up over ranks.
  var words: [UInt64] {
    get { magnitudes + [notFinite] }
    set {
      magnitudes = Array(newValue.dropLast())
      notFinite = newValue[newValue.count - 1]
    }
  }

  /// The lanes of another rank.
  public static func += (bounds: inout SumBounds, other: SumBounds) {
    for piece in bounds.magnitudes.indices { bounds.magnitudes[piece] += other.magnitudes[piece] }
    bounds.notFinite += other.notFinite
  }
}
