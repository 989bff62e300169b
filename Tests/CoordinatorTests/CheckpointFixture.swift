import BinaryModel
import Coordinator
import Foundation
import Kernels
import Parameters

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
    layout = Self.layout()
  }

  static func layout(hidden: Int = 12, layers: Int = 1) -> ParameterLayout {
    ModelLayout(configuration(hidden: hidden, layers: layers), Pretraining()).parameters
  }

  static func tensors(_ layout: ParameterLayout) -> CheckpointTensors {
    CheckpointTensors(layout, optimizerState: ["exp_avg", "exp_avg_sq"])
  }

  static let vectors: [CheckpointVector] = [
    .parameters, .optimizerState("exp_avg"), .optimizerState("exp_avg_sq"),
  ]

  /// Sizes as a run would tell them.
  static func sizes(hidden: Int = 12, layers: Int = 1, heads: Int = 2) -> [String: Int] {
    ["model.hidden_size": hidden, "model.layers": layers, "model.heads": heads]
  }

  private static func configuration(hidden: Int = 12, layers: Int = 1, heads: Int = 2) -> ModelConfiguration {
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

  static func state(step: Int, worldSize: Int = 1) -> CheckpointState {
    CheckpointState(
      step: step, worldSize: worldSize, identity: identity(), sizes: sizes(),
      configurationText: "seed: 1\n", sampleHistory: "ab\(step)",
      values: ["skipped_steps": "2", "lossMean": "3.5"])
  }

  /// What element `index` of `vector` is at `step`; zero in the gaps.
  static func fill(_ buffer: FloatView, _ vector: CheckpointVector, step: Int, layout: ParameterLayout) {
    let salt = Float(CheckpointFixture.vectors.firstIndex(of: vector)! * 1_000_000 + step)
    for parameter in layout.parameters {
      for index in parameter.range { buffer[index] = salt + Float(index) }
    }
  }

  /// Writes a checkpoint as `ranks` ranks do, one after the other, with uneven parts.
  @discardableResult
  func write(step: Int, ranks: Int = 1) throws -> String {
    let draft = CheckpointDraft(
      checkpoints: checkpoints, tensors: CheckpointFixture.tensors(layout),
      state: Self.state(step: step, worldSize: ranks))
    let state = VectorState(layout, step: step)
    defer { withExtendedLifetime(state) {} }
    try draft.create()
    try draft.writeState()
    var digests = CheckpointDraft.Digests()
    let snapshots = (0..<ranks).map { rank in
      let cuts = [rank, rank + 1].map { layout.elementCount * $0 * $0 / (ranks * ranks) }
      return CheckpointSnapshot(state.parts([cuts[0]..<cuts[1]]), tensors: CheckpointFixture.tensors(layout))
    }
    for snapshot in snapshots { digests.merge(try draft.write(snapshot)) { $1 } }
    for (rank, snapshot) in snapshots.enumerated() {
      digests.merge(try draft.sharedDigests(snapshot, rank: rank)) { $1 }
    }
    try draft.commit(digests)
    return draft.path
  }
}

/// The three vectors as they are at some step. Parts of it are valid while it lives: `withExtendedLifetime`.
final class VectorState {
  private let buffer: FloatBuffer
  private let count: Int

  init(_ layout: ParameterLayout, step: Int) {
    count = layout.elementCount
    buffer = FloatBuffer(count: CheckpointFixture.vectors.count * count)
    for vector in CheckpointFixture.vectors {
      CheckpointFixture.fill(view(vector), vector, step: step, layout: layout)
    }
  }

  private func view(_ vector: CheckpointVector) -> FloatView {
    let index = CheckpointFixture.vectors.firstIndex(of: vector)!
    return buffer.view[index * count..<(index + 1) * count]
  }

  /// The elements `ranges` of each vector.
  func parts(_ ranges: [Range<Int>]) -> [(vector: CheckpointVector, part: FlatPart)] {
    CheckpointFixture.vectors.flatMap { vector in
      ranges.map { (vector, FlatPart(start: $0.lowerBound, values: view(vector)[$0])) }
    }
  }

  /// Overwrites all of it.
  func spoil() { buffer.view.fill(.nan) }
}

extension String {
  /// Overwrites, truncates or otherwise changes the file at this path.
  func changeFile(_ change: (inout Data) -> Void) throws {
    var data = try Data(contentsOf: URL(fileURLWithPath: self))
    change(&data)
    try data.write(to: URL(fileURLWithPath: self))
  }
}
