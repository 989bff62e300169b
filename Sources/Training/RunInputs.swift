import BinaryModel
import Collectives
import Coordinator
import Corpora
import Crypto
import Foundation

/// What a run is made from, checked: configuration, corpus, schedule, layout. The same on every rank.
public struct RunInputs: Sendable {
  public let configuration: RunConfiguration
  public let corpus: Corpus
  public let batches: BatchSource
  public let heldOut: HeldOutBatches
  public let layout: ParameterLayout

  /// - Throws: `TrainingError` for a corpus that cannot be read or does not fit.
  public init(_ configuration: RunConfiguration) throws(TrainingError) {
    self.configuration = configuration
    corpus = try inModule { () throws(CorpusError) in try Corpus(directory: configuration.data.corpus) }
    batches = try BatchSource(configuration, corpus: corpus)
    heldOut = try HeldOutBatches(configuration, corpus: corpus)
    layout = ParameterLayout(configuration.modelConfiguration(vocabularySize: corpus.vocabulary.count))
  }

  /// The lanes of a step as a tree.
  var tree: LaneTree { LaneTree(laneCount: configuration.lanes) }

  /// What must not change when a run is resumed. Paths stay out: digests stand for what they name.
  ///
  /// - Cost: reads all of the teacher's file, if there is one.
  func identity() throws(TrainingError) -> RunIdentity {
    var settings: [String: String] = [:]
    for setting in configuration.definingSettings
    where !["data.corpus", "initial_weights"].contains(setting.key) {
      settings[setting.key] = setting.value
    }
    if let teacher = configuration.teacher { settings["teacher"] = try digest(ofFile: teacher) }
    return RunIdentity(
      corpus: corpus.digest, vocabulary: corpus.vocabulary.digest, schedule: batches.schedule.digest,
      configuration: settings)
  }

  private func digest(ofFile path: String) throws(TrainingError) -> String {
    do {
      let bytes = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped)
      return SHA256.hash(data: bytes).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    } catch {
      throw .unreadable(path: path, reason: "cannot be read (key teacher); give a safetensors file of a BERT")
    }
  }
}
