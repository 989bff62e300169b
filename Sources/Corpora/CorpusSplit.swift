/// The part of a corpus that a document belongs to.
public enum CorpusSplit: String, CaseIterable, Codable, Sendable {
  case training
  case heldOut = "held-out"
}
