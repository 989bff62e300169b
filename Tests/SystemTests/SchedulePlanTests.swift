import Testing

/// `bipft schedule --plan`
@Suite struct SchedulePlanTests {
  @Test func namesLanesAndShardsOfEachRank() throws {
    let tiny = try TinyRun()
    func plan(_ more: [String]) throws -> Program.Outcome {
      try Program.bipft(["schedule", "--config", tiny.scratch.path("tiny.yaml"), "--plan"] + more)
    }
    let three = try plan(["--ranks", "3", "--epoch", "1"])
    #expect(three.code == 0, "\(three.errors)")
    let lines = three.output.split(separator: "\n").map(String.init)
    #expect(lines.count == 6)
    #expect(lines[0].contains("8 lane(s) of 2") && lines[0].contains("samples left out of each"))
    #expect(lines[1].hasPrefix("epoch 1 reads ") && lines[1].contains(" % of the "))
    #expect(lines[2] == "epoch 1, 3 rank(s):")
    #expect(lines[3] == "  rank 0: lanes 0 to 1; train-00000")
    #expect(lines[4] == "  rank 1: lanes 2 to 4; train-00000")
    #expect(lines[5] == "  rank 2: lanes 5 to 7; train-00000")
    let alone = try plan(["--ranks", "8"])
    #expect(alone.output.contains("\n  rank 7: lane 7; train-00000\n"))
    let tooMany = try plan(["--ranks", "9"])
    #expect(tooMany.code == 78)
    #expect(tooMany.errors.hasPrefix("bipft: 9 ranks do not fit 8 lanes"), "\(tooMany.errors)")
  }
}
