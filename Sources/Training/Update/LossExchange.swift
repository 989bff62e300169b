import BinaryModel
import Collectives

extension World {
  /// The losses of all micro-batches of all ranks, added in the order of their numbers: the same on every rank and for
  /// every world size. Collective. Each rank's `notice` goes with them.
  ///
  /// - Parameter own: number and losses of each micro-batch that this rank did.
  func addInOrder(
    _ own: [(index: Int, losses: LossSums)], notice: StepNotice
  ) throws(WorldError) -> (total: LossSums, notices: [StepNotice]) {
    var bytes = withUnsafeBytes(of: notice.word) { Array($0) }
    for (index, losses) in own { bytes += losses.words(index).withUnsafeBytes { Array($0) } }
    var all: [(index: Int, losses: LossSums)] = []
    var notices: [StepNotice] = []
    for part in try allGather(bytes) {
      let word = MemoryLayout<UInt64>.size
      notices.append(StepNotice(word: part.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }))
      for start in stride(from: word, to: part.count, by: LossSums.wordCount * word) {
        all.append(
          part.withUnsafeBytes { raw in
            LossSums.read(
              (0..<LossSums.wordCount).map {
                raw.loadUnaligned(fromByteOffset: start + word * $0, as: UInt64.self)
              })
          })
      }
    }
    var total = LossSums()
    for (_, losses) in all.sorted(by: { $0.index < $1.index }) { total += losses }
    return (total, notices)
  }

  /// A count of every rank, in rank order. Collective.
  func all(_ own: Int) throws(WorldError) -> [Int] {
    try allGather(withUnsafeBytes(of: Int64(own)) { Array($0) }).map { part in
      Int(part.withUnsafeBytes { $0.loadUnaligned(as: Int64.self) })
    }
  }
}

extension LossSums {
  fileprivate static let wordCount = 10

  fileprivate func words(_ index: Int) -> [UInt64] {
    [
      UInt64(index), mlm.bitPattern, UInt64(mlmCorrect), UInt64(maskedTokens), nsp.bitPattern,
      UInt64(nspCorrect),
      UInt64(sequences), hidden.bitPattern, UInt64(hiddenElements), nspDistillation.bitPattern,
    ]
  }

  fileprivate static func read(_ words: [UInt64]) -> (index: Int, losses: LossSums) {
    var sums = LossSums()
    sums.mlm = Double(bitPattern: words[1])
    sums.mlmCorrect = Int(words[2])
    sums.maskedTokens = Int(words[3])
    sums.nsp = Double(bitPattern: words[4])
    sums.nspCorrect = Int(words[5])
    sums.sequences = Int(words[6])
    sums.hidden = Double(bitPattern: words[7])
    sums.hiddenElements = Int(words[8])
    sums.nspDistillation = Double(bitPattern: words[9])
    return (Int(words[0]), sums)
  }
}
