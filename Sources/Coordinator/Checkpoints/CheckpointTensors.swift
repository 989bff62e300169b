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

/// A run of bytes of a tensor file that one rank writes, within one piece of the file, cut into blocks.
struct CheckpointStretch: Sendable {
  let piece: Piece
  /// In the file.
  private(set) var bytes: Range<Int>
  private(set) var blocks: [Block]

  /// Bytes that are read from memory and written at once.
  struct Block: Sendable {
    /// In the file.
    var bytes: Range<Int>
    /// What they are, in order: elements of the rank's part number `part`.
    var runs: [(part: Int, elements: Range<Int>)]
  }

  init(piece: Piece, block: Block) {
    self.piece = piece
    bytes = block.bytes
    blocks = [block]
  }

  /// Adds a block that follows, to the last one if `joins`.
  mutating func append(_ block: Block, joins: Bool) {
    bytes = bytes.lowerBound..<block.bytes.upperBound
    if joins {
      blocks[blocks.count - 1].bytes = blocks[blocks.count - 1].bytes.lowerBound..<block.bytes.upperBound
      blocks[blocks.count - 1].runs += block.runs
    } else {
      blocks.append(block)
    }
  }
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

  /// The bytes of `parts`, in the order of the files, as stretches whose blocks have at most `blockSize` bytes.
  ///
  /// - Cost: linear in the parameters and blocks, and a sort.
  func stretches(
    _ parts: [(vector: CheckpointVector, range: Range<Int>)], blockSize: Int
  ) -> [CheckpointStretch] {
    let size = MemoryLayout<Float>.size
    precondition(
      blockSize % size == 0 && CheckpointManifest.pieceSize % blockSize == 0, "blocks of \(blockSize) bytes")
    var stretches: [CheckpointStretch] = []
    for (file, fileSize) in [(Self.modelFile, model.fileSize), (Self.optimizerFile, optimizer.fileSize)] {
      let runs = parts.enumerated().filter { $0.element.vector.fileName == file }.flatMap { index, part in
        places(of: part.vector, in: part.range).map { (part: index, elements: $0.elements, byte: $0.byte) }
      }.sorted { $0.byte < $1.byte }
      for var run in runs {
        while !run.elements.isEmpty {
          let end = (run.byte / blockSize + 1) * blockSize
          let count = min(run.elements.count, (end - run.byte) / size)
          let elements = run.elements.prefix(count)
          let block = CheckpointStretch.Block(
            bytes: run.byte..<run.byte + count * size, runs: [(run.part, elements)])
          let piece = Piece(
            file: file, index: run.byte / CheckpointManifest.pieceSize, fileSize: fileSize)
          if let last = stretches.last, last.bytes.upperBound == run.byte, last.piece == piece {
            stretches[stretches.count - 1].append(block, joins: run.byte % blockSize != 0)
          } else {
            stretches.append(CheckpointStretch(piece: piece, block: block))
          }
          run = (run.part, run.elements.dropFirst(count), run.byte + count * size)
        }
      }
    }
    return stretches
  }
}
