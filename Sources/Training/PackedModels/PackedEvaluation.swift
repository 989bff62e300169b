import BinaryInference
import BinaryModel
import Corpora
import DurableFiles
import FileFormats
import Kernels
import RunSettings
import Synchronization
import Tasks
import TensorFiles

/// A packed model on held-out text or on the rows of a task, by the same samples and measures as its run was evaluated
/// with: `bipft evaluate`. Runs on the threads that `startThreads` started.
public struct PackedEvaluation: Sendable {
  private let path: String
  private let model: BinaryModel
  /// Of the run that trained it.
  private let configuration: RunConfiguration

  /// What was measured: the key of `metrics.jsonl`, or what was counted, and its value as JSON.
  public typealias Value = (name: String, value: String)

  /// Opens a file that `bipft export` made.
  ///
  /// - Throws: `TrainingError` for a file that cannot be read.
  public init(path: String) throws(TrainingError) {
    self.path = path
    do throws(BinaryModelError) {
      model = try BinaryModel(path: path, instructionSet: InstructionSet.name)
    } catch { throw .unreadable(path: path, reason: error.description) }
    let file = try inModule { () throws(TensorFileError) in try SafetensorsFile(path: path) }
    guard let text = file.metadata[PackedModelFormat.configurationKey] else {
      throw .unreadable(
        path: path, reason: "does not say how it was trained (an earlier release made it); export it again")
    }
    configuration = try inModule { () throws(ConfigurationError) in
      try RunConfiguration.parse(text, file: "\(path), configuration", isStored: true)
    }
  }

  // MARK: Held-out text

  /// Masked words and next sentences (where the file has what tells them) of the held-out documents of the corpus `folder`:
  /// the samples that the run was evaluated on, if it is the run's corpus.
  ///
  /// - Parameter sequences: how many; nil for as many as in the run.
  /// - Throws: `TrainingError` for a model without a head for words, a corpus that cannot be read or has another vocabulary.
  /// - Cost: the encoder and the head for each sequence.
  public func words(corpus folder: String, sequences: Int?) throws(TrainingError) -> [Value] {
    guard model.head == .words else {
      throw .unreadable(path: path, reason: BinaryModelError.noHead(wanted: .words).description)
    }
    let corpus = try inModule { () throws(CorpusError) in try Corpus(directory: folder) }
    guard corpus.vocabulary.lines == model.vocabulary.fileBytes else {
      throw .unreadable(
        path: folder,
        reason: "has another vocabulary than the model \(path); give a corpus that was built with the model's"
      )
    }
    let changes = sequences.map { ["evaluation.sequences=\($0)"] } ?? []
    let configuration = try inModule { () throws(ConfigurationError) in
      try RunConfiguration.parse(self.configuration.canonicalText, file: path, overrides: changes)
    }
    let heldOut = HeldOutBatches(
      configuration, try PretrainingSamples(corpus, split: .heldOut, configuration: configuration))
    let objective = Pretraining()
    var total = objective.noLosses(isDistilled: false)
    // Sums in the order of training's evaluation: rows of a slice, slices of a batch, batches.
    for index in 0..<heldOut.count {
      var sums = total.zero
      for slice in try heldOut.batch(index).slices(of: configuration.sliceSequences) {
        sums += try losses(slice, zero: total.zero)
      }
      total += sums
    }
    let masked = total.term("mlm_loss").count
    // What was not asked has no count: a model without next-sentence prediction.
    return (objective.losses + objective.shares).filter { total.term($0).count > 0 }
      .map { ($0, JSONText.number(Float(total[$0]))) } + [
        ("sequences", "\(heldOut.sampleIDs.count)"), ("masked_tokens", "\(masked)"),
      ]
  }

  private func losses(_ batch: PretrainingBatch, zero: LossTerms) throws(TrainingError) -> LossTerms {
    let sequences = try each(batch.sequences) { sequence throws(BinaryModelError) in
      let start = sequence * batch.length
      let own = start..<start + Int(batch.tokens.lengths[sequence])
      let labels = Array(batch.labels.masked[own])
      let positions = labels.indices.filter { labels[$0] >= 0 }
      let logits = try model.pretrainingLogits(
        Array(batch.tokens.inputIDs[own]), segments: Array(batch.tokens.tokenTypeIDs[own]), at: positions)
      let label = batch.labels.nextSentence[sequence]
      return (
        words: zip(positions, logits.words).map { Answer($1, label: labels[$0]) },
        nextSentence: label < 0 ? nil : logits.nextSentence.map { Answer($0, label: label) }
      )
    }
    var terms = zero
    Answer.add(sequences.flatMap(\.words), "mlm", to: &terms)
    Answer.add(sequences.compactMap(\.nextSentence), "nsp", to: &terms)
    return terms
  }

  /// What logits are worth beside the label.
  private struct Answer {
    let loss: Double
    let isRight: Bool

    init(_ logits: [Float], label: Int32) {
      let row = FloatBuffer(count: logits.count)
      for (index, logit) in logits.enumerated() { row.view[index] = logit }
      let (loss, best) = crossEntropy(row.view, label: Int(label), factor: 1)
      self.loss = loss
      isRight = best == Int(label)
    }

    static func add(_ answers: [Answer], _ term: String, to terms: inout LossTerms) {
      terms.add(term + "_loss", sum: answers.reduce(0) { $0 + $1.loss }, count: answers.count)
      terms.add(term + "_accuracy", sum: Double(answers.count { $0.isRight }), count: answers.count)
    }
  }

  // MARK: Tasks

  /// The measures of a task on its held-out rows. A classifier is asked what it says of them; a model without a head is asked
  /// how alike two texts are, by the cosine of their vectors (`BinaryModel.embed`), and not trained for it.
  ///
  /// - Parameters:
  ///   - name: of a task of GLUE; nil for the one that the model was trained for.
  ///   - folder: of the task's files.
  /// - Throws: `TrainingError` for a task that is not the model's, and for rows that cannot be read.
  /// - Cost: the encoder for each row, or for each text.
  public func task(_ name: String?, folder: String) throws(TrainingError) -> [Value] {
    let task = try definition(name)
    let parts = try inModule { () throws(TaskError) in
      try TaskData.heldOut(task, folder: folder, classes: model.labels)
    }
    let encoder = try answering { () throws(BinaryModelError) in try TextEncoder(model.vocabulary) }
    var values: [Value] = []
    for part in parts {
      let predicted = try each(part.examples.count) { row throws(BinaryModelError) in
        let texts = part.examples[row].texts
        return model.head == .classifier
          ? try prediction(
            task, encoder.encode(texts[0], texts.dropFirst().first, limit: model.trainedLength))
          : try similarity(texts.map { encoder.encode($0, limit: model.trainedLength).tokens })
      }
      let actual = part.examples.map { Double($0.target) }
      for metric in task.metrics {
        let value = metric.value(predicted: predicted, actual: actual)
        // As for a correlation with what is constant.
        let text = value.isFinite ? JSONText.number(Float(value)) : "null"
        values.append((metric.rawValue + part.suffix, text))
      }
    }
    return values + [("rows", "\(parts.reduce(0) { $0 + $1.examples.count })")]
  }

  private func definition(_ name: String?) throws(TrainingError) -> TaskDefinition {
    let named = try name.map { name throws(TrainingError) in
      try inModule { () throws(TaskError) in try TaskDefinition.find(name) }
    }
    guard model.head == .classifier else {
      guard let named else {
        throw .incompleteTask(
          "\(path): has no head classifier; name a task of two texts and a number with --task")
      }
      guard named.texts.count == 2, named.target != .classes else {
        throw .incompleteTask(
          "\(path): has no head classifier, so only how alike two texts are can be asked (--task stsb), not \(named.name)"
        )
      }
      return named
    }
    let own = try configuration.task.definition(objective: configuration.objective)
    if let named, named != own {
      throw .incompleteTask("\(path): was trained for the task \(own.name), not \(named.name)")
    }
    return own
  }

  private func prediction(
    _ task: TaskDefinition, _ row: TextEncoder.Encoded
  ) throws(BinaryModelError) -> Double {
    task.prediction(try model.classifierLogits(row.tokens, segments: row.segments))
  }

  /// The cosine of the vectors of two texts.
  private func similarity(_ texts: [[Int32]]) throws(BinaryModelError) -> Double {
    let vectors = try model.embed(texts)
    return zip(vectors[0], vectors[1]).reduce(0) { $0 + Double($1.0) * Double($1.1) }
  }

  /// `body` of 0 ..< count on all threads; the results in their order.
  private func each<Result: Sendable>(
    _ count: Int, _ body: (Int) throws(BinaryModelError) -> Result
  ) throws(TrainingError) -> [Result] {
    let results = Mutex([Swift.Result<Result, BinaryModelError>?](repeating: nil, count: count))
    parallelFor(count) { index, _ in
      let result: Swift.Result<Result, BinaryModelError>
      do throws(BinaryModelError) { result = .success(try body(index)) } catch { result = .failure(error) }
      results.withLock { $0[index] = result }
    }
    return try answering { () throws(BinaryModelError) in
      var values: [Result] = []
      for result in results.withLock({ $0 }) { if let result { values.append(try result.get()) } }
      return values
    }
  }

  /// Runs `body`, which asks the model.
  private func answering<Result>(
    _ body: () throws(BinaryModelError) -> Result
  ) throws(TrainingError) -> Result {
    do throws(BinaryModelError) { return try body() } catch {
      throw .unreadable(path: path, reason: error.description)
    }
  }
}
