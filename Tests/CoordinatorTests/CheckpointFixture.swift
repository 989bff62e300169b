import BinaryModel
import Coordinator
import Foundation
import Kernels

/// A tiny model and its checkpoints in a folder of their own.
struct CheckpointFixture {
  let folder: TemporaryFolder
  let checkpoints: String
  let store: CheckpointStore
  let layout: ParameterLayout

  init() throws {
    folder = try TemporaryFolder()
    checkpoints = folder.path
    store = CheckpointStore(path: checkpoints)
    layout = ParameterLayout(Self.configuration())
  }

  static func configuration(hidden: Int = 12, layers: Int = 1, heads: Int = 2) -> ModelConfiguration {
    ModelConfiguration(
      vocabularySize: 30, hiddenSize: hidden, layers: layers, heads: heads, intermediateSize: 20,
      maximumLength: 8,
      estimatorRank: 1, dropout: 0.1)
  }

  static func identity() -> RunIdentity {
    RunIdentity(
      corpus: "c0", vocabulary: "d0", schedule: "e0",
      configuration: ["training.learning_rate": "0.001", "model.hiddenSize_x": "12", "seed": "1"])
  }

  static func state(step: Int, worldSize: Int = 1, layout: ParameterLayout) -> CheckpointState {
    CheckpointState(
      step: step, worldSize: worldSize, identity: identity(), model: layout.configuration,
      configurationText: "seed: 1\n", sampleHistory: "ab\(step)",
      values: ["skipped_steps": "2", "lossMean": "3.5"])
  }

  /// What element `index` of `vector` is at `step`; zero in the gaps.
  static func fill(_ buffer: FloatView, _ vector: CheckpointVector, step: Int, layout: ParameterLayout) {
    let salt = Float(CheckpointVector.allCases.firstIndex(of: vector)! * 1_000_000 + step)
    for parameter in layout.parameters {
      for index in parameter.range { buffer[index] = salt + Float(index) }
    }
  }

  /// Writes a checkpoint as `ranks` ranks do, one after the other, with uneven parts.
  @discardableResult
  func write(step: Int, ranks: Int = 1) throws -> String {
    let draft = CheckpointDraft(
      checkpoints: checkpoints, layout: layout,
      state: Self.state(step: step, worldSize: ranks, layout: layout))
    let buffer = FloatBuffer(count: layout.elementCount)
    try draft.create()
    for rank in 0..<ranks {
      let cuts = [rank, rank + 1].map { layout.elementCount * $0 * $0 / (ranks * ranks) }
      for vector in CheckpointVector.allCases {
        Self.fill(buffer.view, vector, step: step, layout: layout)
        try draft.write(vector, [FlatPart(start: cuts[0], values: buffer.view[cuts[0]..<cuts[1]])])
      }
    }
    try draft.commit((0..<ranks).map { try draft.digests(rank: $0, size: ranks) })
    return draft.path
  }
}

extension String {
  /// Overwrites, truncates or otherwise changes the file at this path.
  func changeFile(_ change: (inout Data) -> Void) throws {
    var data = try Data(contentsOf: URL(fileURLWithPath: self))
    change(&data)
    try data.write(to: URL(fileURLWithPath: self))
  }
}
