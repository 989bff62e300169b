import CMPI
import Kernels

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

  /// Everyone's bytes, in rank order; lengths may differ.
  public func allGather(_ own: [UInt8]) throws(WorldError) -> [[UInt8]] {
    var counts = [Int64](repeating: 0, count: size)
    try check(cmpi_gather_counts(Int64(own.count), &counts), .allGather)
    var ranges: [Range<Int>] = []
    for count in counts {
      let start = ranges.last?.upperBound ?? 0
      ranges.append(start..<start + Int(count))
    }
    var all = [UInt8](repeating: 0, count: ranges[size - 1].upperBound)
    all.replaceSubrange(ranges[rank], with: own)
    try withBytes(of: &all) { bytes throws(WorldError) in try allGather(bytes, ranges: ranges) }
    return ranges.map { Array(all[$0]) }
  }

  /// Completes a vector of which rank r holds all the elements in `parts[r]`, in place; parts and ranges may be empty.
  public func allGather(_ view: FloatView, parts: [[Range<Int>]]) throws(WorldError) {
    let stride = MemoryLayout<Float>.stride
    try allGather(
      view.bytes, parts: parts.map { $0.map { $0.lowerBound * stride..<$0.upperBound * stride } })
  }

  /// Completes memory of which rank r holds the bytes `ranges[r]`, in place; ranges may be empty.
  public func allGather(_ bytes: UnsafeMutableRawBufferPointer, ranges: [Range<Int>]) throws(WorldError) {
    try allGather(bytes, parts: ranges.map { [$0] })
  }

  /// Completes memory of which rank r holds all the bytes in `parts[r]`, in place; parts and ranges may be empty.
  ///
  /// The parts travel around a ring: `size - 1` steps, in each of which a rank passes on what it received in the one
  /// before. Each link carries each part once.
  ///
  /// - Cost: sends all parts but that of the next rank; a message for each range.
  public func allGather(_ bytes: UnsafeMutableRawBufferPointer, parts: [[Range<Int>]]) throws(WorldError) {
    precondition(parts.count == size, "parts of \(parts.count) ranks for \(size)")
    for range in parts.joined() {
      precondition(
        range.lowerBound >= 0 && range.upperBound <= bytes.count, "bytes \(range) of \(bytes.count)")
    }
    guard size > 1, let base = bytes.baseAddress else { return }
    let (next, previous) = ((rank + 1) % size, (rank + size - 1) % size)
    let most = parts.map(\.count).max() ?? 0
    for step in 0..<size - 1 {
      let sent = parts[(rank + size - step) % size]
      let received = parts[(previous + size - step) % size]
      try withUnsafeTemporaryAllocation(of: cmpi_message.self, capacity: max(1, 2 * most)) {
        messages throws(WorldError) in
        var count = 0
        func append(_ range: Range<Int>, peer: Int, outgoing: Bool) {
          messages.initializeElement(
            at: count,
            to: cmpi_message(
              bytes: base + range.lowerBound, count: range.count, peer: Int32(peer), outgoing: outgoing))
          count += 1
        }
        for range in received { append(range, peer: previous, outgoing: false) }
        for range in sent { append(range, peer: next, outgoing: true) }
        try exchange(UnsafeBufferPointer(rebasing: messages[..<count]), .allGather)
      }
    }
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
    let chunks = partition.slices.map { $0.map { partition.chunkIndices(in: $0) } }
    let mine = chunks[rank].joined()
    precondition(own.count == mine.count, "\(own.count) sums for \(mine.count) chunks")
    var all = [Double](repeating: 0, count: partition.chunkCount)
    for (chunk, sum) in zip(mine, own) { all[chunk] = sum }
    let stride = MemoryLayout<Double>.stride
    let parts = chunks.map { $0.map { $0.lowerBound * stride..<$0.upperBound * stride } }
    try withBytes(of: &all) { bytes throws(WorldError) in try allGather(bytes, parts: parts) }
    return all.reduce(0, +)
  }

  /// Sends and receives all messages, and counts what was sent.
  func exchange(_ messages: UnsafeBufferPointer<cmpi_message>, _ operation: WorldOperation) throws(WorldError)
  {
    for message in messages where message.outgoing { traffic.add(message.count, by: operation) }
    try check(cmpi_exchange(messages.baseAddress, messages.count, false), operation)
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
