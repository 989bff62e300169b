import BinaryModel
import Collectives
import Coordinator
import Corpora
import DurableFiles
import Foundation
import RunSettings

/// What a run is made from, checked: configuration, corpus, schedule, layout. The same on every rank.
public struct RunInputs: Sendable {
  public let configuration: RunConfiguration
  public let corpus: Corpus
  public let batches: BatchSource
  public let heldOut: HeldOutBatches
  public let layout: ParameterLayout
  /// SHA-256 of the teacher's file, once `readTeacherDigest` has found it; nil without a teacher.
  private(set) var teacherDigest: String?

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

  /// Finds the digest of the teacher's file as this rank's host has it: the first rank of each host reads it. Collective.
  ///
  /// - Throws: `TrainingError.unreadable`, the same on all ranks.
  mutating func readTeacherDigest(world: borrowing World) throws {
    guard let path = configuration.teacher else { return }
    let host = world.hostName
    let hosts = try world.allGather(Array(host.utf8))
    let reader = hosts.firstIndex(of: Array(host.utf8))!
    let own = try world.together {
      reader == world.rank ? try Self.digest(ofTeacher: path, host: host) : ""
    }
    teacherDigest = String(decoding: try world.allGather(Array(own.utf8))[reader], as: UTF8.self)
  }

  /// What must not change when a run is resumed. Paths stay out: digests stand for what they name.
  func identity() -> RunIdentity {
    var settings: [String: String] = [:]
    for setting in configuration.definingSettings
    where !["data.corpus", "initial_weights"].contains(setting.key) {
      settings[setting.key] = setting.value
    }
    settings["teacher"] = teacherDigest ?? settings["teacher"]
    return RunIdentity(
      corpus: corpus.digest, vocabulary: corpus.vocabulary.digest, schedule: batches.schedule.digest,
      configuration: settings)
  }

  /// - Cost: reads all of the file.
  private static func digest(ofTeacher path: String, host: String) throws(TrainingError) -> String {
    do { return try fileDigest(path) } catch {
      throw .unreadable(
        path: path,
        reason:
          "cannot be read on \(host) (key teacher); give a safetensors file of a BERT that all hosts have")
    }
  }
}
