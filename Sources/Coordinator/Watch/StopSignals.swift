import Foundation
import Synchronization

/// The signal that came last, 0 for none. Set by the handler, which does nothing else: storing into a lock-free atomic
/// is safe at any moment.
private let receivedSignal = Atomic<Int32>(0)

/// Signals that ask a run to stop: finish the step, save, exit. They only set a flag, which the training loop polls.
public enum StopSignals {
  private static let names: [(Int32, String)] = [
    (SIGUSR1, "SIGUSR1"), (SIGUSR2, "SIGUSR2"), (SIGTERM, "SIGTERM"), (SIGINT, "SIGINT"),
    (SIGPIPE, "SIGPIPE"),
  ]

  /// From now on SIGUSR1, SIGUSR2, SIGTERM and SIGINT do not end this process.
  ///
  /// - Parameter isAlone: neither does SIGPIPE: nobody reads what the process prints any more. For one that no launcher
  ///   started; those of a launcher end with it.
  public static func install(isAlone: Bool = false) {
    // Touch the flag, so that it is initialised before a handler can run.
    _ = receivedSignal.load(ordering: .relaxed)
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { receivedSignal.store($0, ordering: .relaxed) }
    action.sa_flags = SA_RESTART
    sigemptyset(&action.sa_mask)
    for (signal, name) in names where signal != SIGPIPE || isAlone {
      precondition(sigaction(signal, &action, nil) == 0, "\(name) cannot be handled")
    }
  }

  /// The name of the stop signal that came last, or nil.
  public static var received: String? { name(of: receivedNumber) }

  /// The number of the stop signal that came last, 0 for none.
  public static var receivedNumber: UInt8 {
    UInt8(truncatingIfNeeded: receivedSignal.load(ordering: .relaxed))
  }

  /// The name of a stop signal; nil for any other number.
  public static func name(of signal: UInt8) -> String? { names.first { $0.0 == Int32(signal) }?.1 }

  /// Forgets what came before.
  public static func clear() { receivedSignal.store(0, ordering: .relaxed) }
}
