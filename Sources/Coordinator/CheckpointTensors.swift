import BinaryModel
import Kernels
import TensorFiles

/// The vectors of a checkpoint, each as long as the flat buffer of the parameters.
public enum CheckpointVector: CaseIterable, Sendable {
  case parameters
  /// Adam's running mean of the gradient.
  case firstMoments
  /// Adam's running mean of the squared gradient.
  case secondMoments

  var fileName: String { self == .parameters ? CheckpointTensors.modelFile : CheckpointTensors.optimizerFile }

  /// What stands before a parameter's name.
  var prefix: String {
    switch self {
    case .parameters: ""
    case .firstMoments: "exp_avg."
    case .secondMoments: "exp_avg_sq."
    }
  }
}

/// A part of a flat vector: `values[0]` is element `start` of it.
public struct FlatPart {
  public let start: Int
  public let values: FloatView

  public init(start: Int, values: FloatView) {
    self.start = start
    self.values = values
  }

  public var range: Range<Int> { start..<start + values.count }
}

/// Where each element of the flat vectors lies in the two tensor files of a checkpoint.
struct CheckpointTensors {
  static let modelFile = "model.safetensors"
  static let optimizerFile = "optimizer.safetensors"

  let layout: ParameterLayout
  let model: SafetensorsLayout
  let optimizer: SafetensorsLayout

  init(_ layout: ParameterLayout) {
    self.layout = layout
    func tensors(_ vectors: [CheckpointVector]) -> [(name: String, type: TensorType, shape: [Int])] {
      vectors.flatMap { vector in layout.parameters.map { (vector.prefix + $0.name, .float32, $0.shape) } }
    }
    // Readers in Python look for this pair.
    model = SafetensorsLayout(tensors: tensors([.parameters]), metadata: ["format": "pt"])
    optimizer = SafetensorsLayout(
      tensors: tensors([.firstMoments, .secondMoments]), metadata: ["format": "pt"])
  }

  /// The parts of the flat `range` that are parameters: elements of the flat vector, first byte in its file.
  func places(of vector: CheckpointVector, in range: Range<Int>) -> [(elements: Range<Int>, byte: Int)] {
    let entries =
      switch vector {
      case .parameters: model.entries[...]
      case .firstMoments: optimizer.entries.prefix(layout.parameters.count)
      case .secondMoments: optimizer.entries.suffix(layout.parameters.count)
      }
    return zip(layout.parameters, entries).compactMap { parameter, entry in
      let part = range.clamped(to: parameter.range)
      if part.isEmpty { return nil }
      return (part, entry.range.lowerBound + (part.lowerBound - parameter.offset) * MemoryLayout<Float>.size)
    }
  }
}
