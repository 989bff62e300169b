import Foundation

/// Damaged copies of a file's bytes, to show that its reader takes them or refuses them, and never crashes: the same for
/// the same seed and name.
///
/// `BIPFT_MUTATION_ROUNDS=n` makes n times as many (1 by default); `BIPFT_MUTATION_SEED=s` makes others. Both are printed,
/// since a crash leaves no other trace of them.
public struct Mutations {
  public static let rounds = number("BIPFT_MUTATION_ROUNDS") ?? 1
  public static let seed: Int = {
    let seed = number("BIPFT_MUTATION_SEED") ?? 11
    print("mutants: BIPFT_MUTATION_SEED=\(seed) BIPFT_MUTATION_ROUNDS=\(rounds)")
    return seed
  }()

  private static func number(_ variable: String) -> Int? {
    ProcessInfo.processInfo.environment[variable].flatMap { Int($0) }
  }

  private var state: UInt64

  /// - Parameter name: of the test, so that each has mutants of its own.
  public init(_ name: String) {
    state = name.utf8.reduce(UInt64(truncatingIfNeeded: Self.seed)) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
  }

  /// Calls `body` with `count` times `rounds` mutants of `bytes`, and the number of each.
  public static func of(
    _ bytes: [UInt8], count: Int, name: String, _ body: (_ mutant: [UInt8], _ number: Int) throws -> Void
  ) rethrows {
    var mutations = Mutations(name)
    for number in 0..<count * rounds { try body(mutations.mutant(of: bytes), number) }
  }

  /// `bytes` with one to four changes.
  public mutating func mutant(of bytes: [UInt8]) -> [UInt8] {
    var bytes = bytes
    for _ in 0...below(4) { change(&bytes) }
    return bytes
  }

  /// A number in 0 ..< bound (splitmix64: Steele, Lea and Flood 2014).
  public mutating func below(_ bound: Int) -> Int {
    state &+= 0x9E37_79B9_7F4A_7C15
    var word = state
    word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
    word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
    return Int((word ^ word >> 31) >> 1) % bound
  }

  /// What integers in files are compared with and multiplied by.
  private static let extremes: [UInt64] = [
    0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 32,
    1 << 40,
    1 << 62, 0x7FFF_FFFF_FFFF_FFFF, 1 << 63, .max - 1, .max,
  ]

  /// What stands in text where it should not.
  private static let words: [[UInt8]] =
    [
      "0", "-1", "-0", "1e400", "-1e-400", "0.5", "4294967296", "9223372036854775807", "9223372036854775808",
      "-9223372036854775808", "18446744073709551616", "99999999999999999999999", "NaN", "null", "true", "~",
      "",
      "\"", "\"\"", "\\", "\\u0000", "\\ud800", "\\udc00", "{", "}", "{}", "[", "]", "[]", ":", ": ", ",",
      "- ",
      "&a ", "*a", "!!int ", "<<: ", "#", "'", "|", ">", "%", "@", "\n", "\n\n", "\r\n", "\r", "\t", " ",
      "../",
      "/", "\u{FEFF}", "\u{0}", "\u{2028}", "e\u{301}", "İ", "😀", "_",
    ].map { Array($0.utf8) } + [[0xFF], [0xC3], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0x80], [0]]

  private mutating func change(_ bytes: inout [UInt8]) {
    guard !bytes.isEmpty else {
      bytes = Self.words[below(Self.words.count)]
      return
    }
    let place = below(bytes.count)
    // Short stretches mostly, now and then a long one.
    let length = min(bytes.count - place, 1 + (below(8) == 0 ? below(bytes.count) : below(24)))
    switch below(10) {
    case 0: bytes[place] = UInt8(below(256))
    case 1: bytes[place] ^= 1 << UInt8(below(8))
    case 2: bytes.removeLast(bytes.count - place)
    case 3: bytes.removeSubrange(place..<place + length)
    case 4: bytes.insert(contentsOf: bytes[place..<place + length], at: below(bytes.count))
    case 5: bytes.insert(contentsOf: Self.words[below(Self.words.count)], at: place)
    case 6: bytes.replaceSubrange(place..<place + length, with: Self.words[below(Self.words.count)])
    case 7:
      // An integer of 1, 2, 4 or 8 bytes, aligned or not.
      let value = Self.extremes[below(Self.extremes.count)]
      for byte in 0..<min(1 << below(4), bytes.count - place) {
        bytes[place + byte] = UInt8(truncatingIfNeeded: value >> UInt64(8 * byte))
      }
    case 8:
      // A number in text.
      guard let start = bytes[place...].firstIndex(where: Self.isDigit) else { return }
      let end = bytes[start...].firstIndex { !Self.isDigit($0) } ?? bytes.count
      bytes.replaceSubrange(start..<end, with: Self.words[below(Self.words.count)])
    default:
      // Two lines change places.
      var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
      lines.swapAt(below(lines.count), below(lines.count))
      bytes = Array(lines.joined(separator: [UInt8(ascii: "\n")]))
    }
  }

  private static func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }
}
