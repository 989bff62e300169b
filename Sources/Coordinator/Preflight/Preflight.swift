import Collectives
import DurableFiles

/// What a look at all ranks shows before they start: what keeps them from computing the same bits is an error, what costs
/// time a warning.
public struct Preflight: Equatable, Sendable {
  /// One line for the user.
  public let summary: String
  /// One line each; the run can start.
  public let warnings: [String]
  /// One line each; the run must not start.
  public let problems: [String]

  /// Judges the facts of all ranks, in rank order, at least one.
  public init(_ ranks: [RankFacts]) {
    let hosts = Self.hosts(ranks)
    summary = Self.summary(ranks, hosts: hosts)
    problems = Self.problems(ranks)
    warnings = hosts.flatMap { Self.warnings($0) }
  }

  /// Tells all ranks about all ranks. Collective.
  ///
  /// - Throws: `PreflightError.preflight` where they do not fit together, the same on all.
  public static func compare(_ own: RankFacts, world: borrowing World) throws -> Preflight {
    let facts = try world.allGather(encodeJSON(own))
    return try world.together {
      let preflight = Preflight(
        try facts.map { try PreflightError.decodeJSON(RankFacts.self, $0, path: "facts of a rank") })
      if !preflight.problems.isEmpty { throw PreflightError.preflight(preflight.problems) }
      return preflight
    }
  }

  // MARK: - Errors

  private static func problems(_ ranks: [RankFacts]) -> [String] {
    let first = "rank 0 (\(ranks[0].host))"
    let kinds: [(value: (RankFacts) -> String, text: (RankFacts) -> String)] = [
      (
        { $0.executable },
        { _ in "another build of the program than \(first) runs; install the same file on all hosts" }
      ),
      (
        { $0.arguments },
        { _ in "other arguments than those of \(first); give all ranks the same command line" }
      ),
      (
        { $0.inputs },
        { _ in "another corpus under the same name than \(first) reads; give all hosts the same files" }
      ),
      (
        { $0.teacher },
        { _ in "another teacher under the same name than \(first) reads; give all hosts the same file" }
      ),
    ]
    return kinds.compactMap { kind in
      let others = ranks.filter { kind.value($0) != kind.value(ranks[0]) }
      return others.first.map { "\(names(others)): \(kind.text($0))" }
    }
  }

  // MARK: - Warnings

  private static func hosts(_ ranks: [RankFacts]) -> [[RankFacts]] {
    var order: [String] = []
    var members: [String: [RankFacts]] = [:]
    for rank in ranks {
      if members[rank.host] == nil { order.append(rank.host) }
      members[rank.host, default: []].append(rank)
    }
    return order.map { members[$0]! }
  }

  private static func warnings(_ host: [RankFacts]) -> [String] {
    let name = host[0].host
    let hostCores = host[0].hostCores
    let usable = Set(host.flatMap(\.cores))
    let wanted = host.reduce(0) { $0 + $1.threads }
    var warnings: [String] = []
    for crowd in crowds(host) {
      let cores = Set(crowd.flatMap(\.cores)).sorted()
      let threads = crowd.reduce(0) { $0 + $1.threads }
      // Where a host has no more cores than these, its ranks share them because there are no others.
      guard threads > cores.count, cores.count < hostCores else { continue }
      let who = crowd.count == 1 ? "rank \(crowd[0].rank)" : "ranks \(list(crowd.map(\.rank)))"
      warnings.append(
        "host \(name): \(who) with \(threads) threads may use \(cores.count) of \(hostCores) cores "
          + "(\(list(cores))), which is slow; give each rank cores of its own (mpirun --map-by slot:PE=THREADS --bind-to "
          + "core), or all of them (--bind-to none)")
    }
    if warnings.isEmpty, wanted > usable.count, host.contains(where: { $0.threads > 1 }) {
      warnings.append(
        "host \(name): \(host.count) \(host.count == 1 ? "rank" : "ranks") with \(wanted) threads on \(usable.count) "
          + "\(usable.count == 1 ? "core" : "cores"), which is slow; set fewer threads (key threads), or start fewer ranks"
      )
    }
    return warnings
  }

  /// The ranks of a host, apart where they share no core.
  private static func crowds(_ host: [RankFacts]) -> [[RankFacts]] {
    var crowds: [[RankFacts]] = []
    for rank in host {
      let cores = Set(rank.cores)
      let meets = crowds.map { crowd in crowd.contains { !cores.isDisjoint(with: $0.cores) } }
      let met = zip(crowds, meets).filter { $0.1 }.flatMap { $0.0 }
      crowds = zip(crowds, meets).filter { !$0.1 }.map { $0.0 } + [met + [rank]]
    }
    return crowds.map { $0.sorted { $0.rank < $1.rank } }
  }

  // MARK: - Text

  private static func summary(_ ranks: [RankFacts], hosts: [[RankFacts]]) -> String {
    let threads = Set(ranks.map(\.threads)).sorted().map(String.init).joined(separator: " or ")
    let places = hosts.map { host in
      let cores = Set(host.flatMap(\.cores)).count
      return "\(host[0].host): \(host.count) on \(cores) \(cores == 1 ? "core" : "cores")"
    }
    let shown = places.count <= 4 ? places : places.prefix(3) + ["…"]
    return
      "\(ranks.count) \(ranks.count == 1 ? "rank" : "ranks") of \(threads) \(threads == "1" ? "thread" : "threads") on "
      + "\(hosts.count) \(hosts.count == 1 ? "host" : "hosts") (\(shown.joined(separator: ", "))), "
      + Set(ranks.map(\.kernels)).sorted().joined(separator: " and ")
  }

  /// "ranks 4-7 (n2)".
  private static func names(_ ranks: [RankFacts]) -> String {
    var hosts: [String] = []
    for rank in ranks where !hosts.contains(rank.host) { hosts.append(rank.host) }
    let shown = hosts.count <= 4 ? hosts : hosts.prefix(3) + ["…"]
    return
      "\(ranks.count == 1 ? "rank" : "ranks") \(list(ranks.map(\.rank))) (\(shown.joined(separator: ", ")))"
  }

  /// Ascending numbers as "0-3, 8".
  private static func list(_ numbers: [Int]) -> String {
    var runs: [ClosedRange<Int>] = []
    for number in numbers {
      if let last = runs.last, last.upperBound + 1 == number {
        runs[runs.count - 1] = last.lowerBound...number
      } else {
        runs.append(number...number)
      }
    }
    return runs.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
      .joined(separator: ", ")
  }
}

/// SHA-256 of the program that this process runs.
///
/// - Cost: reads the file.
public func digestOfProgram() throws(PreflightError) -> String {
  let path = "/proc/self/exe"
  do throws(FileError) { return try fileDigest(path) } catch {
    throw .unreadable(path: path, problem: "\(error.reason); is /proc mounted?")
  }
}
