import Foundation
import Synchronization

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
