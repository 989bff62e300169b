import Collectives

/// Compares what all ranks should hold alike.
public enum ReplicaCheck {
  /// Collective: every rank gives the digest of its copy.
  ///
  /// - Throws: `replicasDiffer` on all ranks alike; `world`.
  public static func compare(
    _ digest: UInt64, step: Int, world: borrowing World
  ) throws(ReplicaError) {
    let parts: [[UInt8]]
    do throws(WorldError) {
      parts = try world.allGather(withUnsafeBytes(of: digest) { Array($0) } + Array(world.hostName.utf8))
    } catch {
      throw .world(error)
    }
    try compare(
      parts.map {
        (
          $0.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) },
          String(decoding: $0.dropFirst(8), as: UTF8.self)
        )
      },
      step: step)
  }

  /// Names the ranks outside the largest group of equal digests; of groups equally large, that of the lowest rank is
  /// taken for right.
  public static func compare(
    _ replicas: [(digest: UInt64, host: String)], step: Int
  ) throws(ReplicaError) {
    var right = replicas[0].digest
    var most = 0
    for candidate in replicas {
      let count = replicas.count { $0.digest == candidate.digest }
      if count > most { (right, most) = (candidate.digest, count) }
    }
    let wrong = replicas.enumerated().filter { $0.element.digest != right }
    if wrong.isEmpty { return }
    throw .replicasDiffer(
      step: step, ranks: wrong.map { "rank \($0.offset) (\($0.element.host))" }, others: most)
  }
}

/// What a comparison of the ranks' weights finds. Each description is one line: what, where, and what to do next.
public enum ReplicaError: Error, Equatable, Sendable, CustomStringConvertible {
  /// Ranks hold other weights than the rest.
  case replicasDiffer(step: Int, ranks: [String], others: Int)
  /// The ranks lost each other.
  case world(WorldError)

  public var description: String {
    switch self {
    case .replicasDiffer(let step, let ranks, let others):
      return
        "step \(step): \(ranks.joined(separator: ", ")) \(ranks.count == 1 ? "holds" : "hold") other weights than "
        + "\(others == 1 ? "the other rank" : "the other \(others) ranks"): the memory or network of a host is "
        + "failing; check it, then go on from the last checkpoint"
    case .world(let error): return error.description
    }
  }
}
