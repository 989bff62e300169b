import BinaryModel
import DurableFiles

/// A batch as JSON that any other program can train on (`bipft schedule --json`).
public enum BatchDescription {
  /// One object: the step, its epoch, and for each lane sample_ids, input_ids, token_type_ids, attention_mask, labels
  /// (-100 where nothing is predicted) and next_sentence_label.
  public static func json(step: Int?, lanes: [PretrainingBatch]) -> String {
    let objects = lanes.enumerated().map { object($1, lane: $0) }
    return JSONText.object(
      (step.map { [("step", "\($0)")] } ?? [])
        + [("epoch", "\(lanes.first?.tokens.epoch ?? 0)"), ("lanes", "[\(objects.joined(separator: ", "))]")])
  }

  private static func object(_ batch: PretrainingBatch, lane: Int) -> String {
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
    return JSONText.object([
      ("lane", "\(lane)"), ("sample_ids", row(tokens.sampleIDs)), ("input_ids", rows(tokens.inputIDs)),
      ("token_type_ids", rows(tokens.tokenTypeIDs)), ("attention_mask", rows(mask)),
      ("labels", rows(batch.labels.masked)), ("next_sentence_label", row(batch.labels.nextSentence)),
    ])
  }
}
