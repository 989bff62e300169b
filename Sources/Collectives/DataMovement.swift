import CMPI
import Kernels

/// Memory of which rank r holds all the bytes in `parts[r]`; parts and ranges may be empty.
public struct SharedMemory {
  let bytes: UnsafeMutableRawBufferPointer
  let parts: [[Range<Int>]]

  public init(_ bytes: UnsafeMutableRawBufferPointer, parts: [[Range<Int>]]) {
    for range in parts.joined() {
      precondition(
        range.lowerBound >= 0 && range.upperBound <= bytes.count, "bytes \(range) of \(bytes.count)")
    }
    self.bytes = bytes
    self.parts = parts
  }

  /// Any address where there are no bytes.
  var base: UnsafeMutableRawPointer { bytes.baseAddress ?? UnsafeMutableRawPointer(bitPattern: 64)! }
}

extension World {
  /// Returns when all ranks have called it.
  public func barrier() throws(WorldError) { try check(cmpi_barrier(), .barrier) }

  /// The largest of all ranks' values.
  public func maximum(_ value: Int) throws(WorldError) -> Int {
    var largest = Int64(value)
    try check(cmpi_maximum(&largest), .maximum)
    return Int(largest)
  }

  /// Overwrites `bytes`, of the same count on every rank, with those of `root`.
  public func broadcast(_ bytes: UnsafeMutableRawBufferPointer, from root: Int) throws(WorldError) {
    precondition(root >= 0 && root < size, "broadcast from rank \(root) of \(size)")
    guard let base = bytes.baseAddress, !bytes.isEmpty else { return }
    if rank == root { traffic.add(bytes.count * (size - 1), by: .broadcast) }
    try check(cmpi_broadcast(base, bytes.count, Int32(root)), .broadcast)
  }

  /// The bytes of `root`, on every rank; what the others pass does not matter, not even its length.
  public func broadcast(_ bytes: [UInt8], from root: Int) throws(WorldError) -> [UInt8] {
    var count = bytes.count
    try withBytes(of: &count) { bytes throws(WorldError) in try broadcast(bytes, from: root) }
    var result = rank == root ? bytes : [UInt8](repeating: 0, count: count)
    try withBytes(of: &result) { bytes throws(WorldError) in try broadcast(bytes, from: root) }
    return result
  }

  /// Everyone's bytes, in rank order; lengths may differ. For little, 2 GiB at most.
  public func allGather(_ own: [UInt8]) throws(WorldError) -> [[UInt8]] {
    var counts = [Int64](repeating: 0, count: size)
    try check(cmpi_gather_counts(Int64(own.count), &counts), .allGather)
    var ranges: [Range<Int>] = []
    for count in counts {
      let start = ranges.last?.upperBound ?? 0
      ranges.append(start..<start + Int(count))
    }
    var all = [UInt8](repeating: 0, count: ranges[size - 1].upperBound)
    precondition(all.count <= Int32.max, "\(all.count) bytes in a small gather")
    all.replaceSubrange(ranges[rank], with: own)
    traffic.add(own.count * (size - 1), by: .allGather)
    try check(
      cmpi_gather_bytes(&all, counts.map(Int32.init), ranges.map { Int32($0.lowerBound) }), .allGather)
    return ranges.map { Array(all[$0]) }
  }

  /// Completes a vector of which rank r holds all the elements in `parts[r]`, in place; parts and ranges may be empty.
  public func allGather(_ view: FloatView, parts: [[Range<Int>]]) throws(WorldError) {
    let stride = MemoryLayout<Float>.stride
    try allGather(
      view.bytes, parts: parts.map { $0.map { $0.lowerBound * stride..<$0.upperBound * stride } })
  }

  /// Completes memory of which rank r holds all the bytes in `parts[r]`, in place; parts and ranges may be empty.
  ///
  /// - Cost: sends all parts but that of the next rank; a message for each range.
  public func allGather(_ bytes: UnsafeMutableRawBufferPointer, parts: [[Range<Int>]]) throws(WorldError) {
    precondition(parts.count == size, "parts of \(parts.count) ranks for \(size)")
    try passAround(bytes, parts, among: Array(0..<size))
  }

  /// The same of several memories, so that what a host has leaves it once: ranks beyond the places hand their parts to those that serve
  /// them, the ranks of one place on all hosts gather theirs, and then the ranks of each host read from each other.
  public func allGather(_ memories: [SharedMemory], through layout: HostLayout) throws(WorldError) {
    let (host, number) = layout.position(of: rank)
    let server = layout.hosts[host][number % layout.places]
    var messages: [cmpi_message] = []
    func message(_ memory: SharedMemory, _ range: Range<Int>, peer: Int, outgoing: Bool) {
      if range.isEmpty { return }
      messages.append(
        cmpi_message(
          bytes: memory.base + range.lowerBound, count: range.count, peer: Int32(peer), outgoing: outgoing))
    }
    func served(_ memory: SharedMemory, _ place: Int, _ host: Int) -> [Range<Int>] {
      layout.ranks(at: place, of: host).flatMap { memory.parts[$0] }
    }
    for memory in memories {
      precondition(
        memory.parts.count == size && layout.size == size, "parts of \(memory.parts.count) ranks for \(size)")
      if server == rank {
        for other in layout.ranks(at: number, of: host).dropFirst() {
          for range in memory.parts[other] { message(memory, range, peer: other, outgoing: false) }
        }
      } else {
        for range in memory.parts[rank] { message(memory, range, peer: server, outgoing: true) }
      }
    }
    try messages.withUnsafeBufferPointer { messages throws(WorldError) in try exchange(messages, .allGather) }
    if number < layout.places {
      for memory in memories {
        try passAround(
          memory.bytes, layout.hosts.indices.map { served(memory, number, $0) },
          among: layout.hosts.map { $0[number] })
      }
    }
    let readers = layout.hosts[host].count - 1
    guard readers > 0 else { return }
    let peers = try meetOnHost(memories.map(\.base), in: layout)
    for (memory, peers) in zip(memories, peers) {
      for place in 0..<layout.places {
        let ranges = layout.hosts.indices.flatMap { served(memory, place, $0) }
        if place == number {
          traffic.add(readers * ranges.reduce(0) { $0 + $1.count }, by: .allGather)
          continue
        }
        for range in ranges {
          try peers.read(range, of: place, to: memory.base + range.lowerBound) { code throws(WorldError) in
            try check(code, .allGather)
          }
        }
      }
    }
    try partOnHost()
  }

  /// Bytes that `rank` sends, or others read from it, in such a gather of `counts` bytes of each rank.
  public static func gatherBytes(_ counts: [Int], rank: Int, through layout: HostLayout) -> Int {
    let (host, number) = layout.position(of: rank)
    func served(_ place: Int, _ host: Int) -> Int {
      place < layout.places ? layout.ranks(at: place, of: host).reduce(0) { $0 + counts[$1] } : 0
    }
    // What other ranks of the host read; between hosts, in a ring, a rank passes on all parts but the next one's.
    let size = layout.hosts[host].count
    var sent = (size - 1) * layout.hosts.indices.reduce(0) { $0 + served(number, $1) }
    guard number < layout.places else { return sent + counts[rank] }
    if layout.hosts.count > 1 {
      let nextHost = (host + 1) % layout.hosts.count
      sent += layout.hosts.indices.reduce(0) { $0 + served(number, $1) } - served(number, nextHost)
    }
    return sent
  }

  /// Completes memory of which the rank `members[i]` holds the bytes in `parts[i]`, for these ranks, of which this is one.
  ///
  /// The parts travel around a ring, in each step of which a rank passes on what it received in the one before. Each link
  /// carries each part once.
  private func passAround(
    _ bytes: UnsafeMutableRawBufferPointer, _ parts: [[Range<Int>]], among members: [Int]
  ) throws(WorldError) {
    for range in parts.joined() {
      precondition(
        range.lowerBound >= 0 && range.upperBound <= bytes.count, "bytes \(range) of \(bytes.count)")
    }
    let count = members.count
    guard count > 1, let base = bytes.baseAddress else { return }
    let own = members.firstIndex(of: rank)!
    let (next, previous) = ((own + 1) % count, (own + count - 1) % count)
    let most = parts.map(\.count).max() ?? 0
    for step in 0..<count - 1 {
      let sent = parts[(own + count - step) % count]
      let received = parts[(previous + count - step) % count]
      try withUnsafeTemporaryAllocation(of: cmpi_message.self, capacity: max(1, 2 * most)) {
        messages throws(WorldError) in
        var filled = 0
        func append(_ range: Range<Int>, peer: Int, outgoing: Bool) {
          messages.initializeElement(
            at: filled,
            to: cmpi_message(
              bytes: base + range.lowerBound, count: range.count, peer: Int32(members[peer]),
              outgoing: outgoing))
          filled += 1
        }
        for range in received { append(range, peer: previous, outgoing: false) }
        for range in sent { append(range, peer: next, outgoing: true) }
        try exchange(UnsafeBufferPointer(rebasing: messages[..<filled]), .allGather)
      }
    }
  }

  /// Replaces everyone's integers by their sums, which wrap: the same on every rank, whatever the order.
  ///
  /// - Cost: counted as what an all-reduce around a ring sends, see `allReduceBytes`.
  public func allReduce<Integer: SummedInteger>(
    _ values: UnsafeMutableBufferPointer<Integer>
  ) throws(WorldError) {
    let width = MemoryLayout<Integer>.stride
    traffic.add(Self.allReduceBytes(values.count, width: width, rank: rank, size: size), by: .allReduce)
    try check(cmpi_all_reduce(values.baseAddress, values.count, Int32(width)), .allReduce)
  }

  /// Replaces everyone's words by their sums; none overflows.
  public func sum(_ words: inout [UInt64]) throws(WorldError) {
    traffic.add(Self.allReduceBytes(words.count, width: 8, rank: rank, size: size), by: .allReduce)
    try check(cmpi_sum_words(&words, words.count), .allReduce)
  }

  /// Bytes that `rank` sends where `count` numbers of `width` bytes are added up around a ring, and what came of it is passed
  /// around. (MPI may do it otherwise.)
  public static func allReduceBytes(_ count: Int, width: Int, rank: Int, size: Int) -> Int {
    2 * (count - evenRun(rank, of: size, total: count).count) * width
  }

  /// Gives each rank r the elements in `parts[r]` of `root`'s vector, in place; parts and ranges may be empty.
  public func scatter(_ view: FloatView, parts: [[Range<Int>]], from root: Int) throws(WorldError) {
    precondition(parts.count == size, "parts of \(parts.count) ranks for \(size)")
    precondition(root >= 0 && root < size, "scatter from rank \(root) of \(size)")
    let messages = (rank == root ? parts.indices.filter { $0 != root } : [rank]).flatMap { other in
      parts[other].map { range in
        cmpi_message(
          bytes: view[range].base, count: range.count * MemoryLayout<Float>.stride,
          peer: Int32(rank == root ? other : root), outgoing: rank == root)
      }
    }
    try messages.withUnsafeBufferPointer { messages throws(WorldError) in
      try exchange(messages, .scatter)
    }
  }

  /// The sum of all chunks' values, of which this rank has those of the chunks it owns, in flat order: added in chunk order
  /// by everyone, so the same bits on every rank and for every world size.
  ///
  /// - Cost: gathers 8 bytes a chunk.
  public func sumOfChunks(_ own: [Double], partition: SlicePartition) throws(WorldError) -> Double {
    precondition(partition.size == size, "a partition for \(partition.size) ranks in a world of \(size)")
    let chunks = partition.slices.map { $0.flatMap { partition.chunkIndices(in: $0) } }
    precondition(own.count == chunks[rank].count, "\(own.count) sums for \(chunks[rank].count) chunks")
    var all = [Double](repeating: 0, count: partition.chunkCount)
    for (part, numbers) in zip(try allGather(own.withUnsafeBytes { Array($0) }), chunks) {
      part.withUnsafeBytes { bytes in
        for (index, chunk) in numbers.enumerated() {
          all[chunk] = bytes.loadUnaligned(fromByteOffset: 8 * index, as: Double.self)
        }
      }
    }
    return all.reduce(0, +)
  }

  /// Sends and receives all messages, and counts what was sent.
  func exchange(_ messages: UnsafeBufferPointer<cmpi_message>, _ operation: WorldOperation) throws(WorldError)
  {
    for message in messages where message.outgoing { traffic.add(message.count, by: operation) }
    try check(cmpi_exchange(messages.baseAddress, messages.count), operation)
  }
}

private func withBytes(
  of value: inout Int, _ body: (UnsafeMutableRawBufferPointer) throws(WorldError) -> Void
) throws(WorldError) {
  try withUnsafeMutableBytes(of: &value) { bytes throws(WorldError) in try body(bytes) }
}

private func withBytes<Element: BitwiseCopyable>(
  of array: inout [Element], _ body: (UnsafeMutableRawBufferPointer) throws(WorldError) -> Void
) throws(WorldError) {
  let result = array.withUnsafeMutableBytes { bytes in
    Result { () throws(WorldError) in try body(bytes) }
  }
  try result.get()
}
