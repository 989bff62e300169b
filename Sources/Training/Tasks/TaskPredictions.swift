import BinaryModel
import Corpora
import DurableFiles
import Foundation
import Kernels
import RunSettings
import Tasks

/// What the model of a finished run of fine-tuning says of other texts.
struct TaskPredictions {
  private static let sequences = 8
  private let run: String
  /// The folder of the checkpoint whose model predicts.
  let checkpoint: String
  private let configuration: RunConfiguration
  private let record: TaskRecord
  private let task: TaskDefinition
  private let encoder: PairEncoder

  /// - Throws: `TrainingError` where the run or its vocabulary cannot be read.
  init(run: String, _ choice: ModelChoice) throws(TrainingError) {
    self.run = run
    checkpoint = try choice.checkpoint(run) { _ in }
    let configuration = try inModule { () throws(ConfigurationError) in
      try RunConfiguration.load(file: run + "/config.yaml", isStored: true)
    }
    self.configuration = configuration
    record = try TaskRecord(run: run)
    task = try configuration.task.definition(objective: configuration.objective)
    let vocabulary = try inModule { () throws(CorpusError) in
      try Vocabulary(path: configuration.task.vocabulary ?? "")
    }
    encoder = PairEncoder(vocabulary, length: configuration.data.sequenceLength)
  }

  /// Writes a line for each row of the table at `path`, which needs no labels: its number from 0, a tab, the name of the class
  /// or the number. A submission to GLUE has such files.
  ///
  /// - Parameter withProbabilities: a column a class follows, named as it, with its probability in six digits. GLUE wants
  ///   none.
  /// - Returns: the path of the predictions, in the run folder.
  func write(_ path: String, withProbabilities: Bool) throws(TrainingError) -> String {
    let texts = try inModule { () throws(TaskError) in try TaskData.texts(task, path: path) }
    let pooling = configuration.task.pooling
    let outputs =
      task.target == .classes
      ? try self.outputs(Classification(classes: record.classes.count, pooling: pooling), texts)
      : try self.outputs(Regression(pooling: pooling), texts)
    let probabilities = withProbabilities && task.target == .classes
    let lines = outputs.enumerated().map { index, outputs in
      let columns = ["\(index)", words(outputs)] + (probabilities ? Self.probabilities(outputs) : [])
      return columns.joined(separator: "\t") + "\n"
    }
    let header = ["index", "prediction"] + (probabilities ? record.classes.map(Self.field) : [])
    let folder = run + "/predictions"
    let file = folder + "/" + name(of: path) + ".tsv"
    do throws(FileError) {
      _ = try createFolders(folder)
      try replaceFile(file, with: Array((header.joined(separator: "\t") + "\n" + lines.joined()).utf8))
    } catch {
      throw .unreadable(path: file, reason: "cannot be written (\(error.reason))")
    }
    return file
  }

  private func name(of path: String) -> String {
    task.predictionName(of: URL(fileURLWithPath: path).deletingPathExtension().lastPathComponent)
  }

  /// A name as a field between tabs.
  private static func field(_ name: String) -> String {
    name.contains(where: { $0 == "\t" || $0.isNewline }) ? JSONText.quoted(name) : name
  }

  /// Softmax of the logits.
  private static func probabilities(_ logits: [Float]) -> [String] {
    let highest = Double(logits.max()!)
    let powers = logits.map { exp(Double($0) - highest) }
    let sum = powers.reduce(0, +)
    return powers.map { String(format: "%.6f", $0 / sum) }
  }

  private func words(_ outputs: [Float]) -> String {
    let value = task.prediction(outputs)
    guard case .number(let range) = task.target else {
      return Self.field(record.classes[Int(value)])
    }
    guard let range else { return JSONText.number(Float(value)) }
    return String(format: "%.3f", min(range.upperBound, max(range.lowerBound, value)))
  }

  /// The outputs of the checkpoint's model for each row.
  private func outputs<Goal: Objective>(
    _ objective: Goal, _ texts: [[String]]
  ) throws(TrainingError) -> [[Float]] where Goal.Labels == SequenceLabels {
    let layout = ModelLayout(
      configuration.modelConfiguration(vocabularySize: encoder.vocabulary.count), objective)
    let parameters = FloatBuffer(count: layout.parameters.elementCount)
    try inModule { () throws(ModelError) in
      let weights = try PretrainedWeights(path: checkpoint)
      let report = try Initialisation.load(weights, into: parameters.view, layout: layout)
      if !report.missing.isEmpty { throw .missing(path: checkpoint, tensors: report.missing) }
    }
    var model = Model(layout, sequences: Self.sequences, length: encoder.length)
    model.binarise(parameters.view)
    var outputs: [[Float]] = []
    for first in stride(from: 0, to: texts.count, by: Self.sequences) {
      // The last batch is filled up with its first row, which then does not count.
      let rows = (first..<first + Self.sequences).map { index in
        encoder.batch(
          texts[index < texts.count ? index : first], target: index < texts.count ? 0 : nil,
          id: UInt64(index), epoch: 0)
      }
      outputs += model.evaluate(parameters.view, batch: Batch(joining: rows)).predictions.map(\.values)
    }
    return outputs
  }
}
