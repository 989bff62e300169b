import Kernels
import Parameters
import TensorFiles

/// An open checkpoint, memory-mapped. It is read as it is; `CheckpointStore.verify` finds damage.
public struct Checkpoint: Sendable {
  public let path: String
  public let state: CheckpointState
  private let model: SafetensorsFile
  private let optimizer: SafetensorsFile

  /// - Throws: `file`, `unreadable`, `newerFormat`.
  public init(path: String) throws(CheckpointError) {
    let statePath = path + "/state.json"
    state = try CheckpointError.decodeJSON(
      CheckpointState.self, CheckpointError.readVersioned(statePath, known: CheckpointState.currentVersion),
      path: statePath)
    guard state.step >= 0, state.step <= maximumStep else {
      throw .unreadable(path: statePath, problem: "no run comes to step \(state.step)")
    }
    self.path = path
    do throws(TensorFileError) {
      model = try SafetensorsFile(path: path + "/" + CheckpointTensors.modelFile)
      optimizer = try SafetensorsFile(path: path + "/" + CheckpointTensors.optimizerFile)
    } catch {
      if case .file(let inner) = error { throw .file(inner) }
      throw .tensorFile(error)
    }
  }

  /// Refuses a checkpoint of another model.
  ///
  /// - Parameter sizes: of the model, by their configuration keys, as in `CheckpointState.model`.
  /// - Throws: `otherShape` with the first tensor that differs and, where it can be told, the configuration keys;
  ///   `otherSizes`.
  public func check(_ tensors: CheckpointTensors, sizes: [String: Int]) throws(CheckpointError) {
    let (key, layout) = (state.sizeDifferences(to: sizes), tensors.layout)
    for vector in tensors.vectors {
      let file = file(of: vector)
      for parameter in layout.parameters {
        let name = vector.prefix + parameter.name
        let entry = file.find(name)
        if entry?.shape != parameter.shape || entry?.type != .float32 {
          throw .otherShape(
            checkpoint: path, tensor: name, stored: entry?.shape, wanted: parameter.shape, key: key)
        }
      }
    }
    if let extra = model.entries.first(where: { layout.find($0.name) == nil }) {
      throw .otherShape(checkpoint: path, tensor: extra.name, stored: extra.shape, wanted: nil, key: key)
    }
    // Heads change no shape.
    if let key { throw .otherSizes(checkpoint: path, differences: key) }
  }

  /// Fills `part` with its range of `vector`; the gaps between tensors become zero.
  ///
  /// `layout` is one that `check` accepts.
  /// - Cost: reads 4 bytes an element from the mapped file.
  public func load(_ vector: CheckpointVector, layout: ParameterLayout, into part: FlatPart) {
    let file = file(of: vector)
    part.values.fill(0)
    for parameter in layout.parameters {
      let range = part.range.clamped(to: parameter.range)
      if range.isEmpty { continue }
      guard let entry = file.find(vector.prefix + parameter.name), entry.shape == parameter.shape else {
        preconditionFailure("checkpoint \(path) was not checked against the layout it is loaded with")
      }
      file.withBytes(of: entry) { bytes in
        let size = MemoryLayout<Float>.size
        let own = range.lowerBound - parameter.offset..<range.upperBound - parameter.offset
        let source = UnsafeRawBufferPointer(rebasing: bytes[own.lowerBound * size..<own.upperBound * size])
        part.values[range.lowerBound - part.start..<range.upperBound - part.start].bytes.copyMemory(
          from: source)
      }
    }
  }

  private func file(of vector: CheckpointVector) -> SafetensorsFile {
    vector == .parameters ? model : optimizer
  }
}
