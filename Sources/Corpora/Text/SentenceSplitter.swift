/// Splits paragraphs into sentences by rule.
///
/// `.`, `!`, `?` and `…` end a sentence (with closing quotes and brackets) where white space follows, unless the next word
/// begins in lower case or the full stop belongs to an English abbreviation, an initial or a list number. Abbreviations that
/// often do end a sentence (`U.S.`, `p.m.`, `etc.`, `Inc.`) end one only before a word that commonly begins sentences. In a
/// paragraph without a single capital letter a sentence may begin in lower case.
///
/// The marks of other scripts (`SentenceMarks`: Chinese and Japanese 。！？, the Indic danda, Arabic, Ethiopic, Armenian,
/// Burmese, Khmer and others) mean nothing else, so they end a sentence wherever they stand, with closing quotes and brackets.
/// Thai and Lao have no such mark. Splitting too seldom is harmless: what is longer than a sample is cut into pieces
/// (`PieceTable`).
public enum SentenceSplitter {
  /// The byte ranges of the sentences of a UTF-8 paragraph, without the white space between them.
  ///
  /// - Cost: O(bytes).
  public static func sentences(in bytes: Span<UInt8>) -> [Range<Int>] {
    bytes.withUnsafeBufferPointer { sentences(in: $0) }
  }

  /// The sentences of a paragraph.
  public static func sentences(in paragraph: String) -> [String] {
    let bytes = Array(paragraph.utf8)
    return sentences(in: bytes.span).map { String(decoding: bytes[$0], as: UTF8.self) }
  }

  static func sentences(in bytes: UnsafeBufferPointer<UInt8>) -> [Range<Int>] {
    let isLowerCase = !hasCapital(bytes)
    var found: [Range<Int>] = []
    var start = skipSpace(bytes, from: 0)
    var index = start
    while index < bytes.count {
      guard let length = terminator(bytes, at: index) else {
        index += 1
        continue
      }
      let stop = index
      index += length.bytes
      var terminators = 1
      var isSure = length.isSure
      while let more = terminator(bytes, at: index) {
        index += more.bytes
        terminators += 1
        isSure = isSure || more.isSure
      }
      let afterTerminators = index
      while let closer = match(closers, bytes, at: index) { index += closer }
      let next = skipSpace(bytes, from: index)
      guard next < bytes.count else { break }
      guard next > index || isSure else { continue }
      let isPlainStop = terminators == 1 && bytes[stop] == UInt8(ascii: ".")
      if isSure
        || begins(bytes, at: next, isLowerCase: isLowerCase)
          && !(isPlainStop && index == afterTerminators
            && continues(bytes, start: start, stop: stop, next: next, isLowerCase: isLowerCase))
      {
        found.append(start..<index)
        start = next
      }
      index = next
    }
    var end = bytes.count
    while end > start && isSpace(bytes[end - 1]) { end -= 1 }
    if end > start { found.append(start..<end) }
    return found
  }

  // MARK: What surrounds a full stop

  /// Whether the text at `index` can begin a sentence: no lower-case letter (unless all are) and no further punctuation after
  /// any openers.
  private static func begins(
    _ bytes: UnsafeBufferPointer<UInt8>, at index: Int, isLowerCase: Bool
  ) -> Bool {
    var index = index
    while let opener = match(openers, bytes, at: index) { index += opener }
    guard index < bytes.count else { return false }
    let byte = bytes[index]
    if byte < 0x80 { return isUpper(byte) || isDigit(byte) || isLowerCase && isLower(byte) }
    var decoder = UTF8()
    var iterator = bytes[index..<min(index + 4, bytes.count)].makeIterator()
    guard case .scalarValue(let scalar) = decoder.decode(&iterator) else { return false }
    return scalar.properties.isAlphabetic && (isLowerCase || !scalar.properties.isLowercase)
  }

  /// Whether the full stop at `stop` belongs to its word, so that the sentence goes on.
  private static func continues(
    _ bytes: UnsafeBufferPointer<UInt8>, start: Int, stop: Int, next: Int, isLowerCase: Bool
  ) -> Bool {
    var begin = stop
    while begin > start && !isWordBreak(bytes[begin - 1]) { begin -= 1 }
    while begin < stop, let opener = match(openers, bytes, at: begin) { begin += opener }
    guard begin < stop else { return false }
    let word = String(decoding: bytes[begin..<stop], as: UTF8.self)
    let nextIsDigit = isDigit(bytes[next])
    // A list number: "1. Heat the oven."
    if begin == start && word.utf8.allSatisfy(isDigit) { return true }
    // An initial: "J. S. Bach". "I" after a word in lower case is the pronoun: "my brother and I. We …".
    if word.utf8.count == 1, let letter = word.utf8.first, isUpper(letter) || isLowerCase && isLower(letter) {
      let pronoun = letter | 0x20 == UInt8(ascii: "i") && begin >= start + 2 && isLower(bytes[begin - 2])
      return !pronoun
    }
    if titles.contains(isLowerCase ? capitalised(word) : word) { return true }
    let lower = word.lowercased()
    if alwaysInside.contains(lower) { return true }
    if beforeNumbers.contains(lower) { return nextIsDigit }
    let isAcronym =
      word.utf8.contains(UInt8(ascii: ".")) && word.split(separator: ".").allSatisfy { $0.utf8.count <= 2 }
    if isAcronym || mayEnd.contains(lower) {
      let first = firstWord(bytes, at: next)
      return !starters.contains(isLowerCase ? capitalised(first) : first)
    }
    return false
  }

  private static func capitalised(_ word: String) -> String {
    word.prefix(1).uppercased() + word.dropFirst()
  }

  private static func firstWord(_ bytes: UnsafeBufferPointer<UInt8>, at index: Int) -> String {
    var begin = index
    while let opener = match(openers, bytes, at: begin) { begin += opener }
    var end = begin
    while end < bytes.count && (isUpper(bytes[end]) || isLower(bytes[end])) { end += 1 }
    return String(decoding: bytes[begin..<end], as: UTF8.self)
  }

  // MARK: Words

  private static let titles: Set<String> = [
    "Mr", "Mrs", "Ms", "Mx", "Dr", "Prof", "St", "Ste", "Rev", "Revd", "Fr", "Gen", "Col", "Maj", "Capt",
    "Cpt", "Cmdr", "Lt",
    "Sgt", "Cpl", "Pvt", "Adm", "Sen", "Rep", "Gov", "Pres", "Hon", "Messrs", "Mme", "Mmes", "Mlle", "Msgr",
    "Supt", "Insp",
    "Ald", "Bp", "Abp", "Mt", "Ft", "Pt",
  ]
  private static let alwaysInside: Set<String> = [
    "e.g", "i.e", "eg", "ie", "cf", "viz", "vs", "v", "approx", "ca", "c", "b", "d", "r", "al", "incl", "esp",
    "resp", "trans",
  ]
  private static let beforeNumbers: Set<String> = [
    "no", "nos", "nr", "vol", "vols", "p", "pp", "ch", "chap", "sec", "sect", "art", "fig", "figs", "op",
    "bk", "pl", "ver",
    "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec",
  ]
  private static let mayEnd: Set<String> = [
    "etc", "inc", "ltd", "co", "corp", "jr", "sr", "bros", "esq", "dept", "univ", "est", "ave", "blvd", "rd",
    "mass", "conn",
  ]
  private static let starters: Set<String> = [
    "The", "A", "An", "This", "That", "These", "Those", "It", "Its", "He", "She", "They", "We", "I", "You",
    "His", "Her",
    "Their", "Our", "My", "Your", "There", "Here", "In", "On", "At", "By", "For", "From", "With", "After",
    "Before", "When",
    "While", "Although", "However", "But", "And", "Or", "So", "As", "If", "What", "Who", "Why", "How", "Then",
    "Some", "Many",
    "Most", "Both", "Since", "During", "Under", "According", "Following", "Upon", "No", "Not", "One", "All",
    "Each", "To",
  ]

  // MARK: Bytes

  private static let closers = [
    "\"", "'", ")", "]", "}", "*", "_", "’", "”", "»", "」", "』", "）", "】", "》", "〉", "〕", "］", "｝", "｣",
  ].map { Array($0.utf8) }
  private static let openers = ["\"", "'", "(", "[", "{", "*", "_", "‘", "“", "«", "—", "¿", "¡"].map {
    Array($0.utf8)
  }

  /// The mark that may end a sentence at `index`: its bytes, and whether it means nothing else.
  @inline(__always)
  private static func terminator(
    _ bytes: UnsafeBufferPointer<UInt8>, at index: Int
  ) -> (bytes: Int, isSure: Bool)? {
    guard index < bytes.count else { return nil }
    switch bytes[index] {
    case UInt8(ascii: "."), UInt8(ascii: "!"), UInt8(ascii: "?"): return (1, false)
    case ..<0xC0: return nil
    default: return SentenceMarks.mark(bytes, at: index)
    }
  }

  private static func match(_ marks: [[UInt8]], _ bytes: UnsafeBufferPointer<UInt8>, at index: Int) -> Int? {
    guard index < bytes.count else { return nil }
    for mark in marks where mark[0] == bytes[index] && index + mark.count <= bytes.count {
      if (1..<mark.count).allSatisfy({ bytes[index + $0] == mark[$0] }) { return mark.count }
    }
    return nil
  }

  private static func skipSpace(_ bytes: UnsafeBufferPointer<UInt8>, from index: Int) -> Int {
    var index = index
    while index < bytes.count && isSpace(bytes[index]) { index += 1 }
    return index
  }

  /// Whether any letter is upper case.
  private static func hasCapital(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
    if bytes.contains(where: isUpper) { return true }
    guard bytes.contains(where: { $0 >= 0xC3 }) else { return false }
    return String(decoding: bytes, as: UTF8.self).unicodeScalars.contains { $0.properties.isUppercase }
  }

  private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (byte >= 0x09 && byte <= 0x0D) }
  private static func isWordBreak(_ byte: UInt8) -> Bool {
    isSpace(byte) || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "/")
  }
  private static func isUpper(_ byte: UInt8) -> Bool {
    byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z")
  }
  private static func isLower(_ byte: UInt8) -> Bool {
    byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z")
  }
  private static func isDigit(_ byte: UInt8) -> Bool {
    byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
  }
}
