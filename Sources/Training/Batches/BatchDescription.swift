import BinaryModel
import DurableFiles

/// Batches for people and other programs (`bipft schedule --step`, `--held-out`).
enum BatchDescription {
  /// The samples of each lane, a line each; before them the step and its epoch.
  static func text<Labels: BatchLabels>(step: Int?, lanes: [Batch<Labels>]) -> String {
    var lines: [String] = []
    if let step { lines.append("step \(step), epoch \(lanes.first?.tokens.epoch ?? 0)") }
    for (lane, batch) in lanes.enumerated() {
      lines.append("lane \(lane): samples \(batch.tokens.sampleIDs.map(String.init).joined(separator: " "))")
    }
    return lines.joined(separator: "\n")
  }

  /// One object: the step, its epoch, and for each lane sample_ids, input_ids, token_type_ids, attention_mask; of
  /// pretraining also labels (-100 where nothing is predicted) and next_sentence_label.
  static func json<Labels: BatchLabels>(step: Int?, lanes: [Batch<Labels>]) -> String {
    let objects = lanes.enumerated().map { object($1, lane: $0) }
    return JSONText.object(
      (step.map { [("step", "\($0)")] } ?? [])
        + [("epoch", "\(lanes.first?.tokens.epoch ?? 0)"), ("lanes", "[\(objects.joined(separator: ", "))]")])
  }

  private static func object<Labels: BatchLabels>(_ batch: Batch<Labels>, lane: Int) -> String {
    func row(_ values: some Sequence<some BinaryInteger>) -> String {
      "[\(values.map { "\($0)" }.joined(separator: ", "))]"
    }
    func rows(_ values: [Int32]) -> String {
      let parts = (0..<batch.sequences).map { row(values[$0 * batch.length..<($0 + 1) * batch.length]) }
      return "[\(parts.joined(separator: ", "))]"
    }
    let mask = (0..<batch.sequences * batch.length).map { token -> Int32 in
      token % batch.length < Int(batch.tokens.lengths[token / batch.length]) ? 1 : 0
    }
    let tokens = batch.tokens
    var fields = [
      ("lane", "\(lane)"), ("sample_ids", row(tokens.sampleIDs)), ("input_ids", rows(tokens.inputIDs)),
      ("token_type_ids", rows(tokens.tokenTypeIDs)), ("attention_mask", rows(mask)),
    ]
    if let labels = batch.labels as? PretrainingLabels {
      fields += [("labels", rows(labels.masked)), ("next_sentence_label", row(labels.nextSentence))]
    }
    return JSONText.object(fields)
  }
}

extension RunInputs {
  /// The batches of the update number `step`, from 1, or without one the held-out batches, as text or as one JSON object.
  ///
  /// - Throws: `TrainingError` where the samples cannot be read.
  public func batchText(step: Int?, asJSON: Bool) throws(TrainingError) -> String {
    var lanes: [Batch<Goal.Labels>] = []
    if let step {
      for lane in 0..<configuration.laneCount { lanes.append(try batches.batch(step: step, lane: lane)) }
    } else {
      for index in 0..<heldOut.count { lanes.append(try heldOut.batch(index)) }
    }
    return asJSON
      ? BatchDescription.json(step: step, lanes: lanes) : BatchDescription.text(step: step, lanes: lanes)
  }
}
