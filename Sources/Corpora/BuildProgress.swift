import Foundation

/// One line on standard error that shows how far a build is; nothing where that is not a terminal.
public struct BuildProgress: Sendable {
  private let isTerminal = isatty(STDERR_FILENO) == 1

  public init() {}

  public func show(_ progress: CorpusBuilder.Progress) {
    guard isTerminal else { return }
    let share = progress.totalBytes > 0 ? "\(min(100, 100 * progress.bytes / progress.totalBytes)) %, " : ""
    write("\r\u{1B}[K\(share)\(progress.documents) documents, \(progress.tokens) tokens")
  }

  /// Takes the line away.
  public func clear() {
    if isTerminal { write("\r\u{1B}[K") }
  }

  private func write(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }
}
