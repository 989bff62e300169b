import CMPI

/// Which ranks share a host, and which of them work together across hosts.
///
/// A rank's number within its host is its place. There are as many places as the smallest host has ranks; a rank beyond them
/// leaves what goes across hosts to the rank of its host whose place is its own number modulo the number of places.
public struct HostLayout: Equatable, Sendable {
  /// Ranks of each host, ascending; hosts in the order of their first ranks.
  public let hosts: [[Int]]
  /// The number of places.
  public let places: Int

  /// - Parameter firstRanks: of each rank, the lowest rank on its host.
  public init(firstRanks: [Int]) {
    hosts = Set(firstRanks).sorted().map { first in firstRanks.indices.filter { firstRanks[$0] == first } }
    places = hosts.map(\.count).min() ?? 0
  }

  /// Ranks that fill one host after the other.
  public init(ranks: Int, perHost: Int) {
    precondition(ranks > 0 && perHost > 0, "\(ranks) ranks, \(perHost) on a host")
    self.init(firstRanks: (0..<ranks).map { $0 / perHost * perHost })
  }

  /// The number of ranks.
  public var size: Int { hosts.reduce(0) { $0 + $1.count } }

  /// The host of `rank`, and its number there.
  public func position(of rank: Int) -> (host: Int, number: Int) {
    for (host, ranks) in hosts.enumerated() {
      if let number = ranks.firstIndex(of: rank) { return (host, number) }
    }
    preconditionFailure("rank \(rank) is on none of \(hosts.count) hosts")
  }

  /// The ranks of `host` whose parts the one at `place` gets across hosts, itself first.
  public func ranks(at place: Int, of host: Int) -> [Int] {
    stride(from: place, to: hosts[host].count, by: places).map { hosts[host][$0] }
  }
}

extension World {
  /// Who shares a host with whom. Collective.
  public func hostLayout() throws(WorldError) -> HostLayout {
    var all = [Int64](repeating: 0, count: size)
    try check(cmpi_gather_counts(cmpi_first_of_host(), &all), .allGather)
    return HostLayout(firstRanks: all.map(Int.init))
  }
}
