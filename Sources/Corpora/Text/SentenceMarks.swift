/// The marks beyond ASCII that end a sentence.
///
/// Source: chosen from the property Sentence_Terminal of the Unicode Character Database (Unicode Standard Annex 29), and the
/// stops of Tibetan and Sinhala.
enum SentenceMarks {
  /// Marks that mean nothing else: they end a sentence whatever follows.
  ///
  /// - Chinese, Japanese: 。｡！？ (not ．, which stands in numbers); the double marks ‼ ⁇ ⁈ ⁉
  /// - Hindi, Marathi, Nepali, Bengali, Punjabi, Odia and others: । ॥ (danda and double danda)
  /// - Arabic, Urdu, Persian: ؟ ۔ ؞; Syriac: U+0700 to U+0702; N'Ko: U+07F9
  /// - Armenian: ։ (U+0589); Greek: the question mark U+037E
  /// - Ethiopic: ። ፧ ፨; Burmese: ။ (not ၊, a comma); Khmer: ។ ៕; Tibetan: U+0F0D, U+0F0E; Sinhala: ෴
  /// - Mongolian, Canadian syllabics, Ol Chiki, Javanese, Balinese, Meetei Mayek, Limbu, Lisu, Vai
  private static let sure: Set<UInt32> = [
    0x3002, 0xFF61, 0xFF01, 0xFF1F, 0x203C, 0x2047, 0x2048, 0x2049,
    0x0964, 0x0965,
    0x061E, 0x061F, 0x06D4, 0x0700, 0x0701, 0x0702, 0x07F9,
    0x0589, 0x037E,
    0x1362, 0x1367, 0x1368, 0x104B, 0x17D4, 0x17D5, 0x0F0D, 0x0F0E, 0x0DF4,
    0x1803, 0x1809, 0x166E, 0x1C7E, 0x1C7F, 0xA9C9, 0x1B5F, 0xABEB, 0x1944, 0x1945, 0xA4FF, 0xA60E, 0xA60F,
  ]

  /// …, which may as well stand within a sentence.
  private static let ellipsis: UInt32 = 0x2026

  /// The mark of two or three bytes of UTF-8 at `index`: its length, and whether it means nothing else.
  static func mark(_ bytes: UnsafeBufferPointer<UInt8>, at index: Int) -> (bytes: Int, isSure: Bool)? {
    let first = bytes[index]
    let length = first < 0xE0 ? 2 : 3
    guard mayBegin[Int(first)], index + length <= bytes.count else { return nil }
    var scalar = UInt32(first) & (length == 2 ? 0x1F : 0x0F)
    for offset in 1..<length { scalar = scalar << 6 | UInt32(bytes[index + offset] & 0x3F) }
    if scalar == ellipsis { return (length, false) }
    return sure.contains(scalar) ? (length, true) : nil
  }

  /// Whether a byte is the first of any mark.
  private static let mayBegin: [Bool] = {
    var table = [Bool](repeating: false, count: 256)
    for scalar in sure.union([ellipsis]) {
      if let mark = Unicode.Scalar(scalar), let first = String(mark).utf8.first { table[Int(first)] = true }
    }
    return table
  }()
}
