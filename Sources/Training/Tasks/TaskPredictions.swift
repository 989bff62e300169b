import BinaryModel
import Coordinator
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
  private let configuration: RunConfiguration
  private let record: TaskRecord
  private let task: TaskDefinition
  private let encoder: PairEncoder

  /// - Throws: `TrainingError` where the run or its vocabulary cannot be read.
  init(run: String) throws(TrainingError) {
    self.run = run
    let configuration = try inModule { () throws(ConfigurationError) in
      try RunConfiguration.load(file: run + "/config.yaml")
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
  /// - Returns: the path of the predictions, in the run folder.
  func write(_ path: String) throws(TrainingError) -> String {
    let texts = try inModule { () throws(TaskError) in try TaskData.texts(task, path: path) }
    let outputs =
      task.target == .classes
      ? try self.outputs(Classification(classes: record.classes.count), texts)
      : try self.outputs(Regression(), texts)
    let lines = outputs.enumerated().map { "\($0)\t\(words($1))\n" }
    let folder = run + "/predictions"
    let file = folder + "/" + name(of: path) + ".tsv"
    do throws(FileError) {
      _ = try createFolders(folder)
      try replaceFile(file, with: Array(("index\tprediction\n" + lines.joined()).utf8))
    } catch {
      throw .unreadable(path: file, reason: "cannot be written (\(error.reason))")
    }
    return file
  }

  /// GLUE's names for its test files, else the name of the file.
  private func name(of path: String) -> String {
    let stem = URL(fileURLWithPath: path).deletingPathExtension().lastPathComponent
    guard task.isBuiltIn, stem.hasPrefix("test") else { return stem }
    return task.folder + (stem.contains("mismatched") ? "-mm" : stem.contains("matched") ? "-m" : "")
  }

  private func words(_ outputs: [Float]) -> String {
    let value = task.prediction(outputs)
    guard case .number(let range) = task.target else {
      let name = record.classes[Int(value)]
      return name.contains(where: { $0 == "\t" || $0.isNewline }) ? JSONText.quoted(name) : name
    }
    guard let range else { return JSONText.number(Float(value)) }
    return String(format: "%.3f", min(range.upperBound, max(range.lowerBound, value)))
  }

  /// The outputs of the newest checkpoint's model for each row.
  private func outputs<Goal: Objective>(
    _ objective: Goal, _ texts: [[String]]
  ) throws(TrainingError) -> [[Float]] where Goal.Labels == SequenceLabels {
    let item = try inModule { () throws(CheckpointError) in
      try CheckpointStore(path: run + "/checkpoints").newestValid(report: { _ in })
    }
    guard let item else {
      throw .module(CheckpointError.noCheckpoint(path: run, problem: "the run holds none yet"))
    }
    let layout = ModelLayout(
      configuration.modelConfiguration(vocabularySize: encoder.vocabulary.count), objective)
    let parameters = FloatBuffer(count: layout.parameters.elementCount)
    try inModule { () throws(ModelError) in
      let weights = try PretrainedWeights(path: item.path)
      let report = try Initialisation.load(weights, into: parameters.view, layout: layout)
      if !report.missing.isEmpty { throw .missing(path: item.path, tensors: report.missing) }
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
