import BinaryModel
import Collectives

extension World {
  /// The losses of all micro-batches of all ranks, added in the order of their numbers: the same on every rank and for
  /// every world size. Collective. Each rank's `notice` goes with them.
  ///
  /// - Parameters:
  ///   - own: number and losses of each micro-batch that this rank did.
  ///   - zero: no losses of the same objective.
  func addInOrder(
    _ own: [(index: Int, losses: LossTerms)], zero: LossTerms, notice: StepNotice
  ) throws(WorldError) -> (total: LossTerms, notices: [StepNotice]) {
    var words = [notice.word]
    for (index, losses) in own { words += [UInt64(index)] + losses.words }
    let size = 1 + zero.words.count
    var all: [(index: Int, losses: LossTerms)] = []
    var notices: [StepNotice] = []
    for part in try allGather(words: words) {
      notices.append(StepNotice(word: part[0]))
      for start in stride(from: 1, to: part.count, by: size) {
        var losses = zero
        losses.read(words: Array(part[start + 1..<start + size]))
        all.append((Int(part[start]), losses))
      }
    }
    var total = zero
    for (_, losses) in all.sorted(by: { $0.index < $1.index }) { total += losses }
    return (total, notices)
  }

  /// The predictions of all micro-batches of all ranks, in the order of their numbers. Collective.
  func gatherInOrder(
    _ own: [(index: Int, predictions: [Prediction])]
  ) throws(WorldError) -> [Prediction] {
    var words: [UInt64] = []
    for (index, predictions) in own {
      for prediction in predictions {
        words += [UInt64(index), prediction.sample, UInt64(prediction.label.bitPattern)]
        words.append(UInt64(prediction.values.count))
        words += prediction.values.map { UInt64($0.bitPattern) }
      }
    }
    func float(_ word: UInt64) -> Float { Float(bitPattern: UInt32(truncatingIfNeeded: word)) }
    var all: [(index: Int, predictions: Prediction)] = []
    for part in try allGather(words: words) {
      var place = 0
      while place < part.count {
        let values = part[place + 4..<place + 4 + Int(part[place + 3])].map(float)
        all.append(
          (
            Int(part[place]),
            Prediction(sample: part[place + 1], values: values, label: float(part[place + 2]))
          ))
        place += 4 + values.count
      }
    }
    // A micro-batch is one rank's, so its predictions stand together, and in their order.
    return all.enumerated().sorted { ($0.element.index, $0.offset) < ($1.element.index, $1.offset) }
      .map(\.element.predictions)
  }

  /// Sums over all ranks of some counts. Collective.
  func add(_ own: [Int]) throws(WorldError) -> [Int] {
    let all = try allGather(words: own.map { UInt64(bitPattern: Int64($0)) })
    return own.indices.map { index in all.reduce(0) { $0 + Int(Int64(bitPattern: $1[index])) } }
  }

  /// A count of every rank, in rank order. Collective.
  func all(_ own: Int) throws(WorldError) -> [Int] {
    try allGather(words: [UInt64(bitPattern: Int64(own))]).map { Int(Int64(bitPattern: $0[0])) }
  }

  /// The words of every rank, in rank order. Collective.
  private func allGather(words own: [UInt64]) throws(WorldError) -> [[UInt64]] {
    try allGather(own.withUnsafeBytes { Array($0) }).map { part in
      part.withUnsafeBytes { raw in
        (0..<raw.count / 8).map { raw.loadUnaligned(fromByteOffset: 8 * $0, as: UInt64.self) }
      }
    }
  }
}
