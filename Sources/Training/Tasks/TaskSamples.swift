import BinaryModel
import Tasks

/// The rows of a task as samples: one or two texts, and what is to be told of them. Encoded anew each time.
struct TaskSamples: Samples {
  private let parts: [TaskData.Part]
  private let encoder: PairEncoder

  init(_ parts: [TaskData.Part], _ encoder: PairEncoder) {
    self.parts = parts
    self.encoder = encoder
  }

  var shards: [(name: String, count: Int)] { parts.map { ($0.path, $0.examples.count) } }

  func sample(_ id: UInt64, epoch: UInt32) throws(TrainingError) -> Batch<SequenceLabels> {
    var place = Int(id)
    var part = 0
    while place >= parts[part].examples.count {
      place -= parts[part].examples.count
      part += 1
    }
    let example = parts[part].examples[place]
    return encoder.batch(example.texts, target: example.target, id: id, epoch: epoch)
  }
}

extension PairEncoder {
  /// One sequence with its label, nil where there is none.
  func batch(_ texts: [String], target: Float?, id: UInt64, epoch: UInt32) -> Batch<SequenceLabels> {
    let encoded = encode(texts)
    return Batch(
      tokens: TokenBatch(
        sequences: 1, length: length, inputIDs: encoded.ids, tokenTypeIDs: encoded.types,
        lengths: [Int32(encoded.count)], sampleIDs: [id], epoch: epoch),
      labels: SequenceLabels(targets: [target]))
  }
}
