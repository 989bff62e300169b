import Foundation

/// Faults that a test asks for with the environment variable `BIPFT_TEST_FAULTS`; without it nothing here does anything.
///
/// The variable holds faults separated by commas:
/// - `delay:PLACE:SECONDS`: wait whenever PLACE is reached: `create`, `write`, `hash`, `manifest`, `rename` or `latest`, the
///   phases of writing a checkpoint, each before what its name says; `piece`, each before a piece of a checkpoint is hashed;
///   `evaluated`, the end of an evaluation;
/// - `refuse:PLACE:ERRNO`: the system refuses with that errno to do what PLACE names: `lock`, or to read a piece of a file of a
///   checkpoint whose path ends with PLACE;
/// - `nan:RANK:STEP`: the losses of that rank in that step are not a number;
/// - `throw:RANK:STEP`: that rank fails in that step;
/// - `kill-exchange:RANK:STEP`, `hang-exchange:RANK:STEP`: in that step, before the last bucket of its gradient is exchanged,
///   that rank dies or stands still;
/// - `small-powers:0:STEP`: the powers of two of the gradient's integers are too small in that step, on all ranks;
/// - `stop:RANK:STEP`: that rank gets SIGUSR1 in that step;
/// - `kill:RANK:STEP`: that rank is killed in that step;
/// - `corrupt:RANK:STEP`: after that step, that rank's copy of the weights has a wrong bit.
public enum FaultInjection {
  private struct Fault {
    let kind: String
    let subject: String
    let number: String
  }

  private static let faults: [Fault] = {
    let text = ProcessInfo.processInfo.environment["BIPFT_TEST_FAULTS"] ?? ""
    return text.split(separator: ",").map { word in
      let parts = word.split(separator: ":").map(String.init)
      guard parts.count == 3 else {
        let line = Array("BIPFT_TEST_FAULTS: \(word) is not KIND:SUBJECT:NUMBER; unset it, or mend it\n".utf8)
        _ = Foundation.write(STDERR_FILENO, line, line.count)
        exit(78)
      }
      return Fault(kind: parts[0], subject: parts[1], number: parts[2])
    }
  }()

  /// Waits if a test asks for it.
  public static func delay(before place: String) {
    for fault in faults where fault.kind == "delay" && fault.subject == place {
      usleep(UInt32(min(max(0, Double(fault.number) ?? 0), 3600) * 1e6))
    }
  }

  /// The errno with which a test wants the system to refuse what `place` names or ends with; nil for none.
  static func refusal(_ place: String) -> Int32? {
    faults.first { $0.kind == "refuse" && place.hasSuffix($0.subject) }.flatMap { Int32($0.number) }
  }

  /// Dies or stands still here if a test asks for `kill-PLACE` or `hang-PLACE`.
  public static func stop(_ place: String, rank: Int, step: Int) {
    if isAsked("kill-" + place, rank: rank, step: step) { kill(getpid(), SIGKILL) }
    while isAsked("hang-" + place, rank: rank, step: step) { sleep(1) }
  }

  /// Sends this process the signal that a test asks for (`stop`, `kill`) on this rank and step.
  public static func signal(rank: Int, step: Int) {
    if isAsked("stop", rank: rank, step: step) { raise(SIGUSR1) }
    if isAsked("kill", rank: rank, step: step) { raise(SIGKILL) }
  }

  /// Whether a test asks for a fault of this kind (`nan`, `throw`, `corrupt`) on this rank and step.
  public static func isAsked(_ kind: String, rank: Int, step: Int) -> Bool {
    faults.contains { $0.kind == kind && $0.subject == "\(rank)" && $0.number == "\(step)" }
  }
}
