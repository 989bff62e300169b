import CMPI
import Kernels

/// The memory that each rank of this host told of when they met: all read each other's until they part.
public struct PeerMemory {
  /// Of each of them, in rank order.
  private let addresses: [UnsafeMutableRawPointer?]
  /// This rank's number among them.
  private let own: Int

  fileprivate init(_ addresses: [UnsafeMutableRawPointer?], own: Int) {
    self.addresses = addresses
    self.own = own
  }

  /// The others, each rank beginning with the next one, so that no memory is read by all at once.
  private var others: [Int] { (1..<addresses.count).map { (own + $0) % addresses.count } }

  /// Adds what the others have of the elements `range` to `sums`, which begins with the first of them.
  ///
  /// - Parameter check: throws for a code of the bridge.
  /// - Cost: one pass over each; threads share it out.
  func add<Integer: SummedInteger>(
    _ range: Range<Int>, of type: Integer.Type, to sums: UnsafeMutablePointer<Integer>,
    check: (Int32) throws(WorldError) -> Void
  ) throws(WorldError) {
    let stride = MemoryLayout<Integer>.stride
    let others = others
    try share(range, 1 << 15, check) { part in
      for number in others {
        let code = cmpi_add_peer(
          Int32(number), addresses[number]! + part.lowerBound * stride, part.count, Int32(stride),
          sums + part.lowerBound - range.lowerBound)
        if code != 0 { return code }
      }
      return 0
    }
  }

  /// Copies the bytes `range` of the rank number `number` to `bytes`, which begins with the first of them.
  func read(
    _ range: Range<Int>, of number: Int, to bytes: UnsafeMutableRawPointer,
    check: (Int32) throws(WorldError) -> Void
  ) throws(WorldError) {
    try share(range, 1 << 18, check) { part in
      cmpi_read_peer(
        Int32(number), addresses[number]! + part.lowerBound, bytes + part.lowerBound - range.lowerBound,
        part.count)
    }
  }

  /// Shares `range` out among the threads, in parts of `length`.
  private func share(
    _ range: Range<Int>, _ length: Int, _ check: (Int32) throws(WorldError) -> Void,
    _ body: (Range<Int>) -> Int32
  ) throws(WorldError) {
    if range.count <= length { return try check(range.isEmpty ? 0 : body(range)) }
    let parts = (range.count + length - 1) / length
    let code = withUnsafeTemporaryAllocation(of: Int32.self, capacity: parts) { codes in
      parallelFor(parts) { index, _ in
        let first = range.lowerBound + index * length
        codes[index] = body(first..<min(range.upperBound, first + length))
      }
      return codes.first { $0 != 0 } ?? 0
    }
    try check(code)
  }
}

extension World {
  /// Begins a time in which the ranks of this host read from the memories whose `bases` each of them tells, as many, and do not write
  /// there what others read. Collective; `partOnHost` ends it.
  public func meetOnHost(
    _ bases: [UnsafeMutableRawPointer], in layout: HostLayout
  ) throws(WorldError) -> [PeerMemory] {
    let (host, number) = layout.position(of: rank)
    let count = bases.count
    var all = [UnsafeMutableRawPointer?](repeating: nil, count: count * layout.hosts[host].count)
    all.replaceSubrange(number * count..<(number + 1) * count, with: bases)
    try check(cmpi_meet_on_host(&all, Int32(count)), .allGather)
    return bases.indices.map { memory in
      PeerMemory(layout.hosts[host].indices.map { all[$0 * count + memory] }, own: number)
    }
  }

  /// Returns when all ranks of this host have read what they need. Collective.
  public func partOnHost() throws(WorldError) { try check(cmpi_part_on_host(), .barrier) }
}
