import Coordinator
import Foundation
import Synchronization
import Testing

struct HangDiagnosisTests {
  private func rank(
    _ rank: Int, step: Int = 812, _ phase: RankProgress.Phase = .exchange, _ detail: String = "",
    idle: Double = 11, isAlive: Bool = true
  ) -> HangDiagnosis.Observation {
    HangDiagnosis.Observation(
      rank: rank, host: "h\(rank)", place: RankProgress.Place(step: step, phase: phase, detail: detail),
      idle: idle, isAlive: isAlive)
  }

  @Test func theRankThatNobodyWaitsForIsToBlame() throws {
    var ranks = (0..<8).map { rank($0, .exchange, "bucket 3") }
    ranks[5] = rank(5, .reading)
    let hang = try #require(HangDiagnosis(ranks, timeout: 10))
    #expect(hang.reason == "rank 5 (h5) is at step 812 in reading; 7 others wait in exchange, bucket 3")
    #expect(hang.speaker == 0 && hang.step == 812)
  }

  @Test func oneThatMovesIsNoHang() {
    var ranks = (0..<4).map { rank($0) }
    ranks[2] = rank(2, .checkpoint, idle: 3)
    #expect(HangDiagnosis(ranks, timeout: 10) == nil)
    #expect(HangDiagnosis(ranks, timeout: 2) != nil)
  }

  @Test func aStoppedRankComesFirst() throws {
    let ranks = [
      rank(0, isAlive: false), rank(1, .reading), rank(2, step: 813), rank(3, step: 813),
    ]
    let hang = try #require(HangDiagnosis(ranks, timeout: 10))
    #expect(hang.speaker == 1)
    #expect(
      hang.reason
        == "rank 0 (h0) does not run (stopped, or its host is lost); it was last seen at step 812 in exchange; "
        + "2 others wait in exchange; 1 in reading")
  }

  @Test func ifAllWaitTheLastIsToBlame() throws {
    let ranks = [rank(0), rank(1, step: 811), rank(2)]
    let hang = try #require(HangDiagnosis(ranks, timeout: 10))
    #expect(hang.reason == "rank 1 (h1) is at step 811 in exchange; 2 others wait in exchange")
    #expect(HangDiagnosis([rank(0, isAlive: false)], timeout: 10) == nil)
  }

  @Test func manyAreCounted() throws {
    let ranks = (0..<9).map { rank($0, $0 < 6 ? .computing : .exchange) }
    let reason = try #require(HangDiagnosis(ranks, timeout: 10)).reason
    #expect(reason.contains("rank 2 (h2)") && !reason.contains("rank 3 (h3)"))
    #expect(reason.hasSuffix(", and 3 more; 3 others wait in exchange"))
  }

  /// Two ranks of which one stands still, each with a watchdog of its own, as threads of this process.
  @Test func theWatchdogWritesTheState() throws {
    let folder = try TemporaryFolder()
    let run = try RunDirectory(path: folder.path)
    try run.begin()
    let found = Mutex<[HangDiagnosis]>([])
    let places = [RankProgress(), RankProgress()]
    places[0].enter(.exchange, step: 4, detail: "losses")
    places[1].enter(.reading, step: 4)
    let dogs = places.indices.map { rank in
      Watchdog(
        program: "bipft", run: folder.path, rank: rank, size: 2, host: "host-\(rank)", timeout: 2,
        progress: places[rank]
      ) { hang in found.withLock { $0.append(hang) } }
    }
    // While one of them works nobody barks.
    let end = Date() + 3
    while Date() < end {
      places[1].touch()
      usleep(20_000)
    }
    #expect(found.withLock { $0.isEmpty })
    let deadline = Date() + 20
    while found.withLock({ $0.isEmpty }), Date() < deadline { usleep(20_000) }
    for dog in dogs { dog.stop() }
    let hangs = found.withLock { $0 }
    #expect(hangs.count == 1)
    #expect(
      hangs.first?.reason == "rank 1 (host-1) is at step 4 in reading; 1 other waits in exchange, losses")
    let state = try #require(try RunDirectory.identify(folder.path))
    #expect(state.status == .hung && state.step == 3 && state.reason.contains("hang_timeout"))
    #expect(try !folder.contents().contains("progress"))
  }
}

extension HangDiagnosisTests {
  /// A file system that does not answer must not keep the watchdog from ending the job: pipes that nobody opens hold whoever
  /// writes or reads there.
  @Test(arguments: [["progress/rank-0"], ["progress/rank-0", "state.json"], ["progress/rank-1"]])
  func aSilentFileSystemDoesNotStopTheWatchdog(pipes: [String]) throws {
    let folder = try TemporaryFolder()
    let run = try RunDirectory(path: folder.path)
    try run.begin()
    try FileManager.default.createDirectory(
      atPath: folder.path + "/progress", withIntermediateDirectories: true)
    for pipe in pipes {
      unlink(folder.path + "/" + pipe)
      #expect(mkfifo(folder.path + "/" + pipe, 0o600) == 0)
    }
    let found = Mutex<[HangDiagnosis]>([])
    let place = RankProgress()
    place.enter(.computing, step: 7, detail: "lane 1")
    let dog = Watchdog(
      program: "bipft", run: folder.path, rank: 0, size: 2, host: "host-0", timeout: 1, progress: place
    ) { hang in found.withLock { $0.append(hang) } }
    let deadline = Date() + 20
    while found.withLock({ $0.isEmpty }), Date() < deadline { usleep(20_000) }
    let reason = found.withLock { $0.first?.reason } ?? ""
    #expect(
      reason.hasPrefix(
        "rank 0 (host-0) is at step 7 in computing, lane 1, and the file system of \(folder.path) has"))
    // Lets the threads go that hang in it.
    for pipe in pipes { close(open(folder.path + "/" + pipe, O_RDWR | O_NONBLOCK)) }
    dog.stop()
    #expect(run.path == folder.path)
  }
}

struct ReplicaCheckTests {
  @Test func theMinorityIsWrong() throws {
    try ReplicaCheck.compare([(7, "a"), (7, "b"), (7, "a")], step: 3)
    #expect(throws: ReplicaError.replicasDiffer(step: 3, ranks: ["rank 1 (b)"], others: 2)) {
      try ReplicaCheck.compare([(7, "a"), (8, "b"), (7, "a")], step: 3)
    }
    #expect(throws: ReplicaError.replicasDiffer(step: 3, ranks: ["rank 0 (a)", "rank 2 (c)"], others: 2)) {
      try ReplicaCheck.compare([(6, "a"), (7, "b"), (9, "c"), (7, "d")], step: 3)
    }
  }
}

struct RunHistoryTests {
  @Test func eventsAreAppended() throws {
    let folder = try TemporaryFolder()
    let history = RunHistory(run: folder.path)
    #expect(try history.events() == [])
    let events = [
      RunHistory.Event(.start, step: 0, reached: 0, ranks: 3),
      RunHistory.Event(.skipped, step: 4, reason: "the loss is not finite"),
      RunHistory.Event(.end, step: 9, reason: "SIGUSR1"),
    ]
    for event in events { try history.append(event) }
    #expect(try history.events() == events)
    // What a crash leaves of a line is not read, and gives way to the next one.
    try history.path.changeFile { $0.append(contentsOf: Array("{\"event\":\"sta".utf8)) }
    #expect(try history.events() == events)
    try history.append(events[0])
    #expect(try history.events() == events + [events[0]])
    try history.path.changeFile { $0[0] = UInt8(ascii: "x") }
    let fault = RunFolderError.unreadable(path: history.path, problem: "line 1 is not an event of a run")
    #expect(throws: fault) { _ = try history.events() }
    // Numbers that would overflow whoever counts with them.
    for step in ["-9223372036854775808", "9223372036854775807"] {
      try #"{"event":"start","step":\#(step),"time":""}\n"#.replacingOccurrences(of: "\\n", with: "\n")
        .write(toFile: history.path, atomically: false, encoding: .utf8)
      #expect(throws: fault) { _ = try history.events() }
    }
  }

  @Test func threeStartsWithoutACheckpointEndARun() throws {
    let folder = try TemporaryFolder()
    for start in 1...3 {
      let run = try RunDirectory(path: folder.path)
      #expect(try run.begin().startsWithoutCheckpoint == start)
      try run.record(.failed, step: 4, reason: "disk")
    }
    do {
      let run = try RunDirectory(path: folder.path)
      #expect(
        throws: RunFolderError.noProgress(
          path: folder.path, starts: 3, step: 4, status: "failed", reason: "disk")
      ) { try run.begin() }
      #expect(try RunDirectory.identify(folder.path)?.attempt == 3)
      #expect(try run.begin(again: true).startsWithoutCheckpoint == 1)
      try run.record(.running, step: 5, startsWithoutCheckpoint: 0)
    }
    #expect(try RunDirectory(path: folder.path).begin().startsWithoutCheckpoint == 1)
  }
}
