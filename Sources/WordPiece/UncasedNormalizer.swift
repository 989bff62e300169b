/// BERT's uncased normalisation, scalar by scalar: clean text, ideographs apart, canonical decomposition, marks (Mn)
/// removed, lower case.
///
/// Source: Devlin et al. 2019, google-research/bert `tokenization.py` (BasicTokenizer); the tables are the reference
/// tokeniser's own (`UnicodeTableText`).
///
/// - Cost: 1.1 MB of tables, made once.
struct UncasedNormalizer: Sendable {
  /// What happens to a scalar. The raw values index nothing; `ordinary` scalars stay as they are.
  enum Kind: UInt8 {
    case ordinary, removed, space, ideograph, punctuation, removedNonstarter, removedStarter, keptNonstarter,
      mapped, hangul
  }

  /// The kind of each of the 0x110000 code points.
  let kinds: [UInt8]
  /// Mapped scalars in ascending order; entry i becomes `outputs[starts[i] ..< starts[i + 1]]`.
  let keys: [UInt32]
  let starts: [UInt32]
  let outputs: [UInt32]
  /// Kept marks in ascending order, with their canonical combining classes.
  let nonstarters: [UInt32]
  let combiningClasses: [UInt8]

  static let shared = UncasedNormalizer()

  private init() {
    var kinds = [UInt8](repeating: Kind.ordinary.rawValue, count: 0x110000)
    func mark(_ text: String, _ kind: Kind) {
      for run in Self.runs(text) {
        for scalar in stride(from: run.first, through: run.last, by: Int(run.step)) {
          kinds[Int(scalar)] = kind.rawValue
        }
      }
    }
    mark(UnicodeTableText.control, .removed)
    mark(UnicodeTableText.space, .space)
    mark(UnicodeTableText.punctuation, .punctuation)
    // After the punctuation: some of it is mapped, to punctuation that is not (U+037E to a semicolon).
    var mapping: [(key: UInt32, outputs: [UInt32])] = []
    for run in Self.runs(UnicodeTableText.mapping) {
      for scalar in stride(from: run.first, through: run.last, by: Int(run.step)) {
        mapping.append((scalar, run.follows ? [run.targets[0] + scalar - run.first] : run.targets))
        kinds[Int(scalar)] = Kind.mapped.rawValue
      }
    }
    mapping.sort { $0.key < $1.key }
    // Ideographs after the mapping: the compatibility ideographs are both, and stand alone first of all.
    mark(UnicodeTableText.ideographs, .ideograph)
    mark(UnicodeTableText.removedNonstarters, .removedNonstarter)
    mark(UnicodeTableText.removedStarters, .removedStarter)
    var classes: [(scalar: UInt32, value: UInt8)] = []
    for run in Self.runs(UnicodeTableText.keptNonstarters, targetRadix: 10) {
      for scalar in run.first...run.last {
        classes.append((scalar, UInt8(run.targets[0])))
        kinds[Int(scalar)] = Kind.keptNonstarter.rawValue
      }
    }
    classes.sort { $0.scalar < $1.scalar }
    mark("AC00-D7A3", .hangul)

    self.kinds = kinds
    keys = mapping.map(\.key)
    var starts: [UInt32] = [0]
    var outputs: [UInt32] = []
    for entry in mapping {
      outputs += entry.outputs
      starts.append(UInt32(outputs.count))
    }
    self.starts = starts
    self.outputs = outputs
    nonstarters = classes.map(\.scalar)
    combiningClasses = classes.map(\.value)
  }

  /// The scalars that a mapped scalar becomes, as a range of `outputs`; nil for one that is not mapped.
  ///
  /// - Cost: a binary search over the 2,146 mapped scalars.
  func mapping(of scalar: UInt32) -> Range<Int>? {
    guard let index = Self.find(scalar, in: keys) else { return nil }
    return Int(starts[index])..<Int(starts[index + 1])
  }

  /// The canonical combining class of a kept mark, else 0.
  func combiningClass(of scalar: UInt32) -> UInt8 {
    guard let index = Self.find(scalar, in: nonstarters) else { return 0 }
    return combiningClasses[index]
  }

  private static func find(_ scalar: UInt32, in sorted: [UInt32]) -> Int? {
    var (low, high) = (0, sorted.count)
    while low < high {
      let middle = (low + high) / 2
      if sorted[middle] < scalar { low = middle + 1 } else { high = middle }
    }
    return low < sorted.count && sorted[low] == scalar ? low : nil
  }

  /// One entry of a table text.
  private struct Run {
    var first: UInt32
    var last: UInt32
    var step: UInt32 = 1
    var targets: [UInt32] = []
    /// Whether the targets run along with the scalars.
    var follows = false
  }

  /// Parses `A`, `A-B`, `A-B/2`, each perhaps with `=X,Y` or `>X`. By bytes: a program that uses a model does this at its start.
  private static func runs(_ text: String, targetRadix: UInt32 = 16) -> [Run] {
    let (equals, follows) = (UInt8(ascii: "="), UInt8(ascii: ">"))
    return text.utf8.split(separator: UInt8(ascii: " ")).map { entry in
      let sides = entry.split { $0 == equals || $0 == follows }
      let range = sides[0].split(separator: UInt8(ascii: "/"))
      let ends = range[0].split(separator: UInt8(ascii: "-")).map { number($0, 16) }
      var run = Run(first: ends[0], last: ends[ends.count - 1])
      if range.count == 2 { run.step = number(range[1], 10) }
      if sides.count == 2 {
        run.targets = sides[1].split(separator: UInt8(ascii: ",")).map { number($0, targetRadix) }
      }
      run.follows = entry.contains(follows)
      return run
    }
  }

  private static func number(_ digits: Substring.UTF8View, _ radix: UInt32) -> UInt32 {
    digits.reduce(0) { value, byte in
      let digit = byte < UInt8(ascii: "A") ? byte &- UInt8(ascii: "0") : byte &- UInt8(ascii: "A") + 10
      precondition(digit < radix, "UnicodeTableText holds \(String(Substring(digits)))")
      return value * radix + UInt32(digit)
    }
  }
}
