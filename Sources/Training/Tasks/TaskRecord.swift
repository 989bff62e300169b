import BinaryModel
import DurableFiles
import Tasks

/// `task.json` of a run folder: what the outputs of the model mean, and what a model has to beat.
struct TaskRecord: Codable, Equatable {
  static let fileName = "task.json"
  static let currentVersion = 1

  /// A metric with its value; nil where it is not defined, as a correlation with what is constant.
  struct Value: Codable, Equatable {
    let key: String
    let value: Double?

    init(key: String, _ value: Double) {
      self.key = key
      self.value = value.isFinite ? value : nil
    }
  }

  let version: Int
  let task: String
  /// The names of the classes, in the order of the model's outputs; empty where it tells a number.
  let classes: [String]
  /// Of the class that most training rows have, or the mean of their numbers.
  let majority: [Value]
  /// Of `BagOfTokens`.
  let bagOfTokens: [Value]

  /// - Throws: `TrainingError.unreadable` where the folder `run` has none that can be read.
  init(run: String) throws(TrainingError) {
    let path = run + "/" + Self.fileName
    func fault(_ reason: String) -> TrainingError {
      .unreadable(path: path, reason: "\(reason); give the folder of a run of bipft finetune")
    }
    let bytes: [UInt8]
    do throws(FileError) { bytes = try readFile(path) } catch { throw fault(error.reason) }
    do throws(JSONFault) { self = try decodeJSON(TaskRecord.self, bytes) } catch { throw fault(error.reason) }
    if version > Self.currentVersion {
      throw .unreadable(
        path: path,
        reason: "has version \(version), this program knows \(Self.currentVersion); use a newer one")
    }
  }

  private init(_ source: TaskSource, majority: [Value], bagOfTokens: [Value]) {
    version = Self.currentVersion
    task = source.data.task.name
    classes = source.data.classes
    self.majority = majority
    self.bagOfTokens = bagOfTokens
  }

  /// What there is to tell of a task's data, and its record.
  ///
  /// - Parameter touch: called on the way, as a sign of life.
  /// - Cost: encodes all rows and trains `BagOfTokens` on them.
  static func notes(_ source: TaskSource, touch: () -> Void) -> StartNotes {
    let data = source.data
    var cut = (rows: 0, tokens: 0)
    func tokens(_ examples: [TaskData.Example]) -> [[[Int32]]] {
      examples.enumerated().map { index, example in
        if index % 1000 == 0 { touch() }
        let (parts, lost) = source.encoder.tokens(example.texts)
        cut = (cut.rows + (lost > 0 ? 1 : 0), cut.tokens + lost)
        return parts
      }
    }
    let targets = data.training.examples.map(\.target)
    let majority = Majority(targets: targets, task: data.task.target).prediction
    let bag = BagOfTokens(
      rows: tokens(data.training.examples), targets: targets, classes: data.classes.count,
      vocabularySize: source.encoder.vocabulary.count, touch: touch)
    let heldOut = data.heldOut.flatMap(\.examples)
    let rows = zip(heldOut, tokens(heldOut)).enumerated().map { index, row in
      Prediction(sample: UInt64(index), values: [Float(bag.predict(row.1))], label: row.0.target)
    }
    let record = TaskRecord(
      source, majority: source.metrics(rows) { _ in majority },
      bagOfTokens: source.metrics(rows) { Double($0.values[0]) })
    var notes = StartNotes()
    let classes =
      data.classes.isEmpty
      ? "a number each"
      : "\(data.classes.count) classes (\(data.classes.prefix(8).joined(separator: ", "))\(data.classes.count > 8 ? ", …" : ""))"
    notes.messages = [
      "task \(data.task.name): \(targets.count) rows to train on, \(heldOut.count) held out, \(classes)"
    ]
    notes.messages += data.notes
    if cut.rows > 0 {
      notes.messages.append(
        "\(cut.rows) rows are longer than \(source.encoder.length) tokens and lose \(cut.tokens) in all, the longer text first"
      )
    }
    notes.messages.append(
      "to beat: \(words(record.majority)) (always the same), \(words(record.bagOfTokens)) (bag of tokens)")
    notes.files = [(fileName, String(decoding: encodeJSON(record), as: UTF8.self))]
    return notes
  }

  /// "accuracy 0.8234, f1 0.7712".
  static func words(_ values: [Value]) -> String {
    values.map { "\($0.key.replacing("_", with: " ")) \(digits($0.value))" }.joined(separator: ", ")
  }

  static func digits(_ value: Double?) -> String {
    guard let value else { return "undefined" }
    let rounded = Int((abs(value) * 10_000).rounded())
    let rest = String(rounded % 10_000)
    return
      "\(value < 0 && rounded > 0 ? "-" : "")\(rounded / 10_000).\(String(repeating: "0", count: 4 - rest.count))\(rest)"
  }
}
