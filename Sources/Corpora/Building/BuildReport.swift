/// What a build met with, for people.
struct BuildReport {
  /// Documents with a token, those left out as invalid, and those mended.
  private(set) var withText = 0
  private(set) var leftOut = 0
  private(set) var mended = 0
  /// The first faults, in the order of the documents.
  private var faults: [TextFault] = []

  /// Faults that are told one by one.
  private static let shownFaults = 10
  /// Files whose format is told one by one.
  private static let shownFiles = 4

  mutating func count(_ document: EncodedDocument) {
    if !document.lengths.isEmpty { withText += 1 }
    guard let fault = document.fault else { return }
    if document.isLeftOut { leftOut += 1 } else { mended += 1 }
    if faults.count < Self.shownFaults { faults.append(fault) }
  }

  func lines(_ formats: [(file: String, format: TextFormat)]) -> [String] {
    func name(_ format: TextFormat) -> String { format == .jsonl ? "JSON lines" : "text" }
    var lines: [String] = []
    if formats.count <= Self.shownFiles {
      lines = formats.map { "\($0.file): read as \(name($0.format))" }
    } else {
      for format in [TextFormat.text, .jsonl] {
        let files = formats.filter { $0.format == format }
        if let first = files.first {
          lines.append("\(files.count) files read as \(name(format)), \(first.file) the first")
        }
      }
    }
    guard leftOut + mended > 0 else { return lines }
    lines.append("invalid: \(leftOut) documents left out, \(mended) mended")
    lines += faults.map { "  \($0)" }
    if leftOut + mended > faults.count { lines.append("  and \(leftOut + mended - faults.count) more") }
    return lines
  }
}
