import Foundation
import Testing

/// A job under mpirun in progress, to be disturbed.
final class FaultJob {
  private let process = Process()
  private let log: String
  /// Part of the command line of every process of the job, and of no other.
  private let mark: String
  let ranks: Int

  /// Starts `bipft-pretrain` with `arguments` on `ranks` ranks; `run` is its run directory, `log` takes its
  /// output.
  init(
    _ arguments: [String], run: String, log: String, ranks: Int, environment: [String: String] = [:]
  ) throws {
    self.ranks = ranks
    mark = run
    self.log = log
    _ = FileManager.default.createFile(atPath: log, contents: nil)
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.currentDirectoryURL = Program.package
    process.arguments =
      ["mpirun", "-n", "\(ranks)", Program.folder.appendingPathComponent("bipft-pretrain").path] + arguments
    process.environment = ProcessInfo.processInfo.environment.merging(Program.mpiEnvironment) { $1 }
      .merging(environment) { $1 }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle(forWritingAtPath: log)
    process.standardError = FileHandle(forWritingAtPath: log)
    try Program.start(process)
  }

  var isRunning: Bool { process.isRunning }

  /// What all ranks and mpirun have printed so far.
  var output: String { (try? String(contentsOfFile: log, encoding: .utf8)) ?? "" }

  /// The lines that are ours, not mpirun's.
  var lines: [String] {
    output.split(separator: "\n").map(String.init).filter { $0.hasPrefix("bipft") }
  }

  /// The step of the last checkpoint that the job has said to be there; nil for none.
  var lastCheckpoint: Int? {
    lines.last { $0.contains(": checkpoint of step ") && $0.contains(" written in ") }
      .flatMap { Int($0.components(separatedBy: "checkpoint of step ")[1].prefix { $0.isNumber }) }
  }

  /// Process ids by rank, of those that run now.
  var processes: [Int: pid_t] {
    var found: [Int: pid_t] = [:]
    for pid in Self.processes(of: mark) {
      guard let environment = try? Data(contentsOf: URL(fileURLWithPath: "/proc/\(pid)/environ")) else {
        continue
      }
      let texts = environment.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
      let name = "OMPI_COMM_WORLD_RANK="
      if let text = texts.first(where: { $0.hasPrefix(name) }), let rank = Int(text.dropFirst(name.count)) {
        found[rank] = pid
      }
    }
    return found
  }

  /// Sends a signal to mpirun.
  func signalLauncher(_ signal: Int32) { kill(process.processIdentifier, signal) }

  /// Sends a signal to one rank; false if it does not run (any more).
  @discardableResult
  func signal(_ signal: Int32, rank: Int) -> Bool {
    guard let pid = processes[rank] else { return false }
    return kill(pid, signal) == 0
  }

  /// Waits until `condition` holds or the job has ended; false after `seconds`.
  @discardableResult
  func wait(seconds: Double = 60, until condition: () -> Bool) -> Bool {
    let deadline = Date() + seconds
    while Date() < deadline {
      if condition() || !isRunning { return true }
      usleep(5_000)
    }
    return false
  }

  /// Waits for the end of the job and of all its processes, and returns mpirun's exit code. One that does not end is
  /// killed and reported.
  func end(seconds: Double = 90, location: SourceLocation = #_sourceLocation) -> Int32 {
    if !wait(seconds: seconds, until: { false }) {
      Issue.record("the job does not end: \(output.suffix(2_000))", sourceLocation: location)
      for pid in Self.processes(of: mark) + [process.processIdentifier] { kill(pid, SIGKILL) }
    }
    process.waitUntilExit()
    let deadline = Date() + 15
    while Date() < deadline, !Self.processes(of: mark).isEmpty { usleep(10_000) }
    let orphans = Self.processes(of: mark)
    #expect(orphans == [], "processes outlive their job", sourceLocation: location)
    for pid in orphans { kill(pid, SIGKILL) }
    return process.terminationStatus
  }

  /// Processes of our program whose command line holds `mark`.
  private static func processes(of mark: String) -> [pid_t] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return names.compactMap { pid_t($0) }.filter { pid in
      guard let line = try? Data(contentsOf: URL(fileURLWithPath: "/proc/\(pid)/cmdline")) else {
        return false
      }
      let words = line.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
      return words.first?.hasSuffix("/bipft-pretrain") == true && words.contains(mark)
    }
  }
}
