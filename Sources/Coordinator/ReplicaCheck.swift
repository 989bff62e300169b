import Collectives

/// Compares what all ranks should hold alike.
public enum ReplicaCheck {
  /// Collective: every rank gives the digest of its copy.
  ///
  /// - Throws: `replicasDiffer` on all ranks alike; `world`.
  public static func compare(
    _ digest: UInt64, step: Int, world: borrowing World
  ) throws(CoordinatorError) {
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
  ) throws(CoordinatorError) {
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
