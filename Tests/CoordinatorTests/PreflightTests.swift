import Coordinator
import Testing

/// What the preflight makes of the ranks' facts.
@Suite struct PreflightTests {
  private func rank(_ rank: Int, host: String = "n1", threads: Int = 1, cores: [Int] = [0, 1, 2, 3])
    -> RankFacts
  {
    RankFacts(
      rank: rank, host: host, threads: threads, cores: cores, hostCores: 4, executable: "e", arguments: "a",
      inputs: "i", teacher: "t", kernels: "avx512")
  }

  @Test func equalRanksFit() {
    let preflight = Preflight([rank(0), rank(1), rank(2, host: "n2"), rank(3, host: "n2")])
    #expect(preflight.problems == [])
    #expect(preflight.warnings == [])
    #expect(
      preflight.summary
        == "4 ranks of 1 thread on 2 hosts (n1: 2 on 4 cores, n2: 2 on 4 cores), avx512"
    )
    // Kernels of all kinds give the same bits.
    var unlike = [rank(0), rank(1, host: "n2")]
    unlike[1].kernels = "avx2"
    #expect(Preflight(unlike).problems == [] && Preflight(unlike).summary.hasSuffix(", avx2 and avx512"))
    #expect(Preflight([rank(0)]).summary.hasPrefix("1 rank of 1 thread on 1 host (n1: 1 on 4 cores), "))
  }

  @Test(arguments: [
    (\RankFacts.executable, "another build"), (\.arguments, "other arguments"), (\.inputs, "another corpus"),
    (\.teacher, "another teacher"),
  ])
  func eachDifferenceIsOneLineThatNamesTheRanks(
    field: WritableKeyPath<RankFacts, String> & Sendable, text: String
  ) {
    var ranks = (0..<6).map { rank($0, host: $0 < 3 ? "n1" : "n2") }
    for index in [2, 4, 5] { ranks[index][keyPath: field] = "x" }
    let problems = Preflight(ranks).problems
    #expect(problems.count == 1)
    #expect(problems.first?.hasPrefix("ranks 2, 4-5 (n1, n2): ") == true, "\(problems)")
    #expect(problems.first?.contains(text) == true, "\(problems)")
  }

  @Test func ranksOnOneCoreAreNamed() {
    let bound = [
      rank(0, cores: [0]), rank(1, cores: [1]), rank(2, cores: [1]), rank(3, host: "n2", cores: [1]),
    ]
    let warnings = Preflight(bound).warnings
    #expect(warnings.count == 1)
    #expect(
      warnings.first?.hasPrefix("host n1: ranks 1-2 with 2 threads may use 1 of 4 cores (1), ") == true,
      "\(warnings)")
    // A chain of overlaps is one crowd: two cores for three threads.
    let chain = [rank(0, cores: [0, 1]), rank(1, threads: 2, cores: [1])]
    #expect(
      Preflight(chain).warnings.first?.contains("ranks 0-1 with 3 threads may use 2 of 4 cores (0-1)") == true
    )
    // Ranks that share enough cores do not.
    #expect(Preflight([rank(0, cores: [0, 1]), rank(1, cores: [0, 1])]).warnings == [])
  }

  @Test func threadsThatShareACoreAreNamed() {
    #expect(
      Preflight([rank(0, threads: 2, cores: [3])]).warnings.first?.contains(
        "rank 0 with 2 threads may use 1 of 4 cores (3)") == true)
    #expect(
      Preflight([rank(0, threads: 3), rank(1, threads: 3)]).warnings.first?.hasPrefix(
        "host n1: 2 ranks with 6 threads on 4 cores, ") == true)
    // More ranks than cores on a host that has no more: the user's choice, and in the summary.
    #expect(Preflight((0..<8).map { rank($0) }).warnings == [])
  }
}
