import Coordinator
import Foundation
import Testing

struct RunDirectoryTests {
  let folder: TemporaryFolder
  init() throws { folder = try TemporaryFolder() }

  @Test func lifeOfARun() throws {
    let path = folder.path + "/a/b/run"
    do {
      let run = try RunDirectory(path: path)
      #expect(run.previous == nil)
      #expect(try run.begin().attempt == 1)
      try run.writeConfiguration("seed: 1\n")
      #expect(try run.record(.preempted, step: 40, reason: "SIGUSR1").status == .preempted)
    }
    let run = try RunDirectory(path: path)
    #expect(
      run.previous?.status == .preempted && run.previous?.step == 40 && run.previous?.reason == "SIGUSR1")
    let state = try run.begin()
    #expect(state.attempt == 2 && state.step == 40 && state.status == .running)
    #expect(try run.record(.finished, step: 50).attempt == 2)
    #expect(try RunDirectory.identify(path)?.status == .finished)
    #expect(try folder.contents("a/b/run") == ["checkpoints", "config.yaml", "lock", "state.json"])
    #expect(try String(contentsOfFile: path + "/config.yaml", encoding: .utf8) == "seed: 1\n")
  }

  @Test func stateFileIsPlainJSON() throws {
    let run = try RunDirectory(path: folder.path)
    try run.record(.failed, step: 3, reason: "disk / full")
    let text = try String(contentsOfFile: folder.path + "/state.json", encoding: .utf8)
    #expect(text.contains(#""status" : "failed""#))
    #expect(text.contains(#""reason" : "disk / full""#))
    #expect(text.contains(#""format" : "bipft-run""#))
    #expect(run.previous == nil)
  }

  @Test(arguments: ["thesis.tex", ".hidden", "config.yaml"]) func foreignFolderIsRefused(name: String) throws
  {
    try Data().write(to: URL(fileURLWithPath: folder.path + "/" + name))
    #expect(throws: RunFolderError.foreignFolder(path: folder.path, found: name)) {
      _ = try RunDirectory(path: folder.path)
    }
    #expect(try folder.contents() == [name])
  }

  @Test(arguments: ["{}", #"{"format":"other"}"#, ""]) func foreignStateIsRefused(text: String) throws {
    try Data(text.utf8).write(to: URL(fileURLWithPath: folder.path + "/state.json"))
    #expect(
      throws: RunFolderError.foreignFolder(path: folder.path, found: "a state.json that is not of a run")
    ) {
      _ = try RunDirectory(path: folder.path)
    }
  }

  @Test func laterFormatIsRefused() throws {
    do { try RunDirectory(path: folder.path).begin() }
    let path = folder.path + "/state.json"
    let text = try String(contentsOfFile: path, encoding: .utf8)
    try text.replacingOccurrences(of: #""version" : 1"#, with: #""version" : 9"#)
      .write(toFile: path, atomically: true, encoding: .utf8)
    #expect(throws: RunFolderError.newerFormat(path: path, version: 9, known: 1)) {
      _ = try RunDirectory(path: folder.path)
    }
  }

  @Test func secondJobIsRefused() throws {
    do {
      let run = try RunDirectory(path: folder.path)
      try run.begin()
      #expect {
        _ = try RunDirectory(path: folder.path)
      } throws: { error in
        guard case RunFolderError.runLocked(folder.path, let holder) = error else { return false }
        return holder.contains("process \(getpid())") && holder.contains("host ")
          && !"\(error)".contains("\n")
      }
      #expect(run.path == folder.path)
    }
    #expect(try RunDirectory(path: folder.path).previous?.attempt == 1)
  }

  /// A job that was killed leaves `running`, and nobody who holds the run.
  @Test func aKilledJobIsTold() throws {
    #expect(try RunDirectory.summary(folder.path) == nil)
    do {
      let run = try RunDirectory(path: folder.path)
      try run.begin()
      let wasLost = run.wasLost
      #expect(!wasLost)
      #expect(try RunDirectory.summary(folder.path)?.hasPrefix("running (host ") == true)
      try run.record(.running, step: 30)
    }
    let line = try RunDirectory.summary(folder.path)
    #expect(line?.hasPrefix("its last job ended without a word after step 30 or later") == true)
    do {
      // Who looks does not keep the next job out.
      let run = try RunDirectory(path: folder.path)
      let wasLost = run.wasLost
      #expect(wasLost)
      try run.begin()
      try run.record(.preempted, step: 40, reason: "SIGUSR1")
    }
    #expect(try RunDirectory.summary(folder.path) == "preempted at step 40: SIGUSR1")
    let wasLost = try RunDirectory(path: folder.path).wasLost
    #expect(!wasLost)
  }

  @Test func aStartThatDiedEarlyIsNoObstacle() throws {
    do { _ = try RunDirectory(path: folder.path) }
    #expect(try folder.contents() == ["checkpoints", "lock"])
    #expect(try RunDirectory(path: folder.path).begin().attempt == 1)
  }

  @Test func whatADeadJobLeftIsRemoved() throws {
    let hidden = folder.path + "/checkpoints/.step-00000010.partial"
    try FileManager.default.createDirectory(atPath: hidden, withIntermediateDirectories: true)
    try Data([1]).write(to: URL(fileURLWithPath: hidden + "/model.safetensors"))
    for name in ["checkpoints/.latest.7.partial", ".state.json.7.partial"] {
      try Data([1]).write(to: URL(fileURLWithPath: folder.path + "/" + name))
    }
    let run = try RunDirectory(path: folder.path)
    #expect(try folder.contents() == ["checkpoints", "lock"])
    #expect(try folder.contents("checkpoints") == [])
    #expect(run.checkpointsPath == folder.path + "/checkpoints")
  }

  @Test func aFileInTheWayIsNamed() throws {
    let path = folder.path + "/file"
    try Data().write(to: URL(fileURLWithPath: path))
    #expect(
      throws: RunFolderError.unusableFolder(
        path: path, problem: "cannot create \(path): File exists", code: EEXIST)
    ) { _ = try RunDirectory(path: path) }
  }

  /// Neither can be made, written to or mended by starting again: one line with a remedy.
  @Test(arguments: ["link", "file/run", "/proc/run", String(repeating: "n", count: 300)])
  func aFolderThatCannotBeUsedIsNamed(name: String) throws {
    try FileManager.default.createSymbolicLink(
      atPath: folder.path + "/link", withDestinationPath: folder.path + "/nowhere")
    try Data().write(to: URL(fileURLWithPath: folder.path + "/file"))
    let path = name.hasPrefix("/") ? name : folder.path + "/" + name
    #expect {
      _ = try RunDirectory(path: path)
    } throws: { error in
      guard case RunFolderError.unusableFolder(path, _, _) = error else { return false }
      return "\(error)".hasSuffix("; choose another --run-dir, or mend that")
    }
  }

  /// A power failure or a copy that was cut off takes `state.json`, a hand empties it or writes numbers that no run has: the
  /// checkpoints and the history tell of a run.
  @Test(arguments: [
    "", "{\n  \"attempt\" : 2,\n  \"form", "\0\0\0\0", nil, "{}",
    #"{"format": "bipft-run", "version": -1}"#,
    #"{"format": "bipft-run", "version": 99999999999999999999}"#,
  ]) func aLostStateIsMadeAnew(
    text: String?
  ) throws {
    do {
      let run = try RunDirectory(path: folder.path)
      try run.begin()
      try RunHistory(run: folder.path).append(RunHistory.Event(.start, step: 0, ranks: 1))
      try run.record(.running, step: 30)
      try FileManager.default.createDirectory(
        atPath: run.checkpointsPath + "/step-00000030", withIntermediateDirectories: true)
    }
    let state = folder.path + "/state.json"
    try FileManager.default.removeItem(atPath: state)
    try text.map { try Data($0.utf8).write(to: URL(fileURLWithPath: state)) }
    #expect(try RunDirectory.identify(folder.path)?.step == 30)
    let run = try RunDirectory(path: folder.path)
    let (isLost, wasLost) = (run.stateWasLost, run.wasLost)
    #expect(isLost && !wasLost)
    #expect(try run.begin().attempt == 2)
    #expect(try RunDirectory.identify(folder.path)?.status == .running)
  }

  /// A folder that looks like a run but for a state of another program keeps it.
  @Test(arguments: [#"{"epoch": 3}"#, #"{"format": "other"}"#, "[1]", "3"]) func anotherProgramsStateIsKept(
    text: String
  ) throws {
    try FileManager.default.createDirectory(
      atPath: folder.path + "/checkpoints/step-00000030", withIntermediateDirectories: true)
    try Data(text.utf8).write(to: URL(fileURLWithPath: folder.path + "/state.json"))
    #expect(
      throws: RunFolderError.foreignFolder(path: folder.path, found: "a state.json that is not of a run")
    ) {
      _ = try RunDirectory(path: folder.path)
    }
  }

  /// Numbers that no run has, and a later format that is another one altogether.
  @Test func aStateOfOtherNumbersOrALaterFormatIsRefused() throws {
    do { try RunDirectory(path: folder.path).begin() }
    let path = folder.path + "/state.json"
    let text = try String(contentsOfFile: path, encoding: .utf8)
    for number in ["9223372036854775807", "-1"] {
      try text.replacingOccurrences(of: #""attempt" : 1"#, with: #""attempt" : \#(number)"#)
        .write(toFile: path, atomically: true, encoding: .utf8)
      #expect(throws: RunFolderError.self) { _ = try RunDirectory(path: folder.path) }
    }
    try #"{"format": "bipft-run", "version": 3, "progress": [1, 2]}"#
      .write(toFile: path, atomically: true, encoding: .utf8)
    #expect(throws: RunFolderError.newerFormat(path: path, version: 3, known: 1)) {
      _ = try RunDirectory(path: folder.path)
    }
  }
}

@Suite(.serialized) struct StopSignalTests {
  @Test(arguments: [(SIGUSR1, "SIGUSR1"), (SIGUSR2, "SIGUSR2"), (SIGTERM, "SIGTERM"), (SIGINT, "SIGINT")])
  func onlySetsAFlag(signal: Int32, name: String) {
    StopSignals.install()
    StopSignals.clear()
    #expect(StopSignals.received == nil)
    // To the process: the threads that run tests block signals, the main thread takes them.
    kill(getpid(), signal)
    let deadline = Date() + 10
    while StopSignals.received == nil, Date() < deadline { usleep(1_000) }
    #expect(StopSignals.received == name)
    StopSignals.clear()
    #expect(StopSignals.received == nil)
  }
}
