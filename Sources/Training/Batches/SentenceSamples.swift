import BinaryModel
import Corpora
import DurableFiles
import RunSettings
import Tasks

/// The sentences of a corpus as samples.
struct SentenceSamples: Samples {
  private let source: SentenceSource

  /// - Throws: `TrainingError.module` with a `CorpusError`.
  init(_ corpus: Corpus, split: CorpusSplit, sequenceLength: Int) throws(TrainingError) {
    source = try inModule { () throws(CorpusError) in
      try SentenceSource(corpus: corpus, split: split, sequenceLength: sequenceLength)
    }
  }

  var shards: [(name: String, count: Int)] {
    zip(source.corpus.shards(source.split), source.shardSampleCounts).map { ($0.name, $1) }
  }

  func sample(_ id: UInt64, epoch: UInt32) throws(TrainingError) -> Batch<SentenceLabels> {
    let sentence = try inModule { () throws(CorpusError) in try source.sentence(id) }
    return Batch(
      tokens: TokenBatch(
        sequences: 1, length: source.sequenceLength, inputIDs: sentence.inputIDs,
        tokenTypeIDs: Array(repeating: 0, count: source.sequenceLength), lengths: [Int32(sentence.length)],
        sampleIDs: [id], epoch: epoch),
      labels: SentenceLabels(uses: [.matched]))
  }

  func check(_ ids: [UInt64]) throws(TrainingError) {
    try inModule { () throws(CorpusError) in try source.checkShards(of: ids) }
  }

  func verifyInBackground(part: Int, of parts: Int) {
    source.corpus.verifyInBackground(part: part, of: parts)
  }
}

/// Held-out sentences of a corpus, and behind them pairs of texts that are said to be more or less similar, of each pair both.
struct HeldOutSentences: Samples {
  private let sentences: SentenceSamples
  private let pairs: TaskData.Part?
  private let encoder: PairEncoder

  init(_ sentences: SentenceSamples, pairs: TaskData.Part?, _ encoder: PairEncoder) {
    self.sentences = sentences
    self.pairs = pairs
    self.encoder = encoder
  }

  var shards: [(name: String, count: Int)] {
    sentences.shards + (pairs.map { [($0.path, 2 * $0.examples.count)] } ?? [])
  }

  func sample(_ id: UInt64, epoch: UInt32) throws(TrainingError) -> Batch<SentenceLabels> {
    guard let pairs, Int(id) >= sentences.count else { return try sentences.sample(id, epoch: epoch) }
    let place = Int(id) - sentences.count
    let example = pairs.examples[place / 2]
    let text = encoder.encode([example.texts[place % 2]])
    return Batch(
      tokens: TokenBatch(
        sequences: 1, length: encoder.length, inputIDs: text.ids, tokenTypeIDs: text.types,
        lengths: [Int32(text.count)], sampleIDs: [id], epoch: epoch),
      labels: SentenceLabels(uses: [.compared(score: example.target)]))
  }

  /// Some sentences of the corpus, and all pairs.
  func spread(_ limit: Int) -> [UInt64] {
    sentences.spread(limit) + (sentences.count..<count).map(UInt64.init)
  }

  func check(_ ids: [UInt64]) throws(TrainingError) {
    try sentences.check(ids.filter { $0 < sentences.count })
  }
}

extension RunInputs where Goal == SentenceEncoding {
  /// Matching a teacher's sentence embeddings on the configuration's corpus.
  ///
  /// - Throws: `TrainingError` where there is no teacher, and for data that cannot be read or do not fit.
  init(sentence configuration: RunConfiguration) throws(TrainingError) {
    guard configuration.teacher != nil else {
      throw .incompleteTask(
        "teacher: missing; the objective sentence needs the encoder that is to be matched")
    }
    let settings = configuration.sentence
    let corpus = try inModule { () throws(CorpusError) in try Corpus(directory: configuration.data.corpus) }
    func samples(_ split: CorpusSplit) throws(TrainingError) -> SentenceSamples {
      try SentenceSamples(corpus, split: split, sequenceLength: configuration.data.sequenceLength)
    }
    let pairs = try settings.evaluation.map { folder throws(TrainingError) in
      try configuration.similarityTask(folder: folder)
    }
    try self.init(
      configuration,
      SentenceEncoding(
        weights: SentenceEncoding.Weights(
          cosine: settings.cosineWeight, similarity: settings.similarityWeight, hidden: settings.hiddenWeight),
        temperature: settings.temperature
      ) { cosines, scores in
        (pairs?.task.metrics ?? []).map { ($0.rawValue, $0.value(predicted: cosines, actual: scores)) }
      },
      training: samples(.training),
      heldOut: HeldOutSentences(
        samples(.heldOut), pairs: pairs?.heldOut.first,
        PairEncoder(corpus.vocabulary, length: configuration.data.sequenceLength)),
      vocabularySize: corpus.vocabulary.count, vocabularyDigest: corpus.vocabulary.digest,
      corpusDigest: pairs.map { SHA256.digest(Array("\(corpus.digest)\n\($0.digest)".utf8)) } ?? corpus.digest
    )
  }
}

extension RunConfiguration {
  /// The pairs of texts in `folder`, with numbers that say how similar they are: the task that the keys describe, or STS-B.
  fileprivate func similarityTask(folder: String) throws(TrainingError) -> TaskData {
    let definition =
      task.name == nil && task.text == nil
      ? try inModule { () throws(TaskError) in try TaskDefinition.find("stsb") }
      : try task.definition(objective: Objectives.regression)
    guard definition.texts.count == 2 else {
      throw .incompleteTask("task.second_text: missing; sentence.evaluation needs pairs of texts")
    }
    return try inModule { () throws(TaskError) in try TaskData(definition, folder: folder) }
  }
}
