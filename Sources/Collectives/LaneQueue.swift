import CMPI

/// The lanes of a step, handed out one by one: each rank has its own run of them, and may take those of others that nobody has
/// begun.
///
/// A counter for each rank, in a window of rank 0, says how many lanes of its run are taken.
public struct LaneQueue: ~Copyable {
  /// This rank's own.
  public let own: Range<Int>
  private let runs: [Range<Int>]
  /// Whether a rank may take the lanes of others.
  private let isShared: Bool
  /// Own lanes taken, where it may not.
  private var taken = 0

  /// A queue of `lanes` lanes, full. Where they are shared, collective, and only one at a time.
  public init(lanes: Int, isShared: Bool, world: borrowing World) throws(WorldError) {
    runs = (0..<world.size).map { evenRun($0, of: world.size, total: lanes) }
    own = runs[world.rank]
    self.isShared = isShared && world.size > 1
    if self.isShared { try world.check(cmpi_open_counters(), .counters) }
  }

  /// The next lane for this rank; nil if there is none left.
  ///
  /// - Cost: where lanes are shared, an exchange with rank 0; a few for a lane of another rank.
  public mutating func next(world: borrowing World) throws(WorldError) -> Int? {
    guard isShared else {
      guard taken < own.count else { return nil }
      taken += 1
      return own.lowerBound + taken - 1
    }
    if let lane = try take(from: world.rank, world: world) { return lane }
    var all = [Int64](repeating: 0, count: world.size)
    while true {
      try world.check(cmpi_read_counters(&all), .counters)
      // Of the rank that has most before it; of several of them, of the next one in rank order.
      var (best, most) = (0, 0)
      for distance in 1..<world.size {
        let rank = (world.rank + distance) % world.size
        let left = runs[rank].count - Int(all[rank])
        if left > most { (best, most) = (rank, left) }
      }
      guard most > 0 else { return nil }
      if let lane = try take(from: best, world: world) { return lane }
    }
  }

  private func take(from rank: Int, world: borrowing World) throws(WorldError) -> Int? {
    var before: Int64 = 0
    try world.check(cmpi_count(Int32(rank), &before), .counters)
    return before < runs[rank].count ? runs[rank].lowerBound + Int(before) : nil
  }

  /// Fills the queue again. All ranks have been told that there is none left, and none asks for the next one before they have met
  /// once more.
  public mutating func refill(world: borrowing World) throws(WorldError) {
    taken = 0
    if isShared, world.rank == 0 { try world.check(cmpi_clear_counters(), .counters) }
  }

  /// Serves ranks that ask for lanes; to be called now and then by rank 0 while it works.
  public func serve(world: borrowing World) {
    if isShared, world.rank == 0 { cmpi_serve() }
  }
}
