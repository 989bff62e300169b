import Foundation
import Synchronization

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

/// Notes SIGINT and SIGTERM instead of dying from them, so that a build can take away what it has written.
public final class Interrupt: Sendable {
  private static let requested = Atomic<Bool>(false)

  /// From now on both signals only set `isRequested`.
  public init() {
    for code in [SIGINT, SIGTERM] {
      signal(code) { _ in Interrupt.requested.store(true, ordering: .relaxed) }
    }
  }

  public var isRequested: Bool { Self.requested.load(ordering: .relaxed) }
}
