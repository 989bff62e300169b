import Kernels
import Parameters
import TensorFiles

/// One of the vectors of a checkpoint, each as long as the flat buffer of the parameters.
public struct CheckpointVector: Hashable, Sendable {
  /// nil for the parameters.
  private let state: String?

  public static let parameters = CheckpointVector(state: nil)

  /// A vector that the optimizer keeps, by its name: `exp_avg`.
  public static func optimizerState(_ name: String) -> CheckpointVector { CheckpointVector(state: name) }

  var fileName: String { state == nil ? CheckpointTensors.modelFile : CheckpointTensors.optimizerFile }

  /// What stands before a parameter's name.
  var prefix: String { state.map { $0 + "." } ?? "" }
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

/// The vectors that a run's checkpoints hold, and where each element of them lies in the two tensor files.
public struct CheckpointTensors: Sendable {
  static let modelFile = "model.safetensors"
  static let optimizerFile = "optimizer.safetensors"

  let layout: ParameterLayout
  /// The parameters, then what the optimizer keeps.
  public let vectors: [CheckpointVector]
  let model: SafetensorsLayout
  let optimizer: SafetensorsLayout

  /// - Parameter optimizerState: the names of the vectors that the optimizer keeps.
  public init(_ layout: ParameterLayout, optimizerState: [String]) {
    self.layout = layout
    let states = optimizerState.map { CheckpointVector.optimizerState($0) }
    vectors = [.parameters] + states
    func tensors(_ vectors: [CheckpointVector]) -> [(name: String, type: TensorType, shape: [Int])] {
      vectors.flatMap { vector in layout.parameters.map { (vector.prefix + $0.name, .float32, $0.shape) } }
    }
    // Readers in Python look for this pair.
    model = SafetensorsLayout(tensors: tensors([.parameters]), metadata: ["format": "pt"])
    optimizer = SafetensorsLayout(tensors: tensors(states), metadata: ["format": "pt"])
  }

  /// Bytes of both tensor files.
  public var byteCount: Int { model.fileSize + optimizer.fileSize }

  /// The parts of the flat `range` that are parameters: elements of the flat vector, first byte in its file.
  func places(of vector: CheckpointVector, in range: Range<Int>) -> [(elements: Range<Int>, byte: Int)] {
    guard let index = vectors.firstIndex(of: vector) else { preconditionFailure("a vector of no checkpoint") }
    let count = layout.parameters.count
    let entries = index == 0 ? model.entries[...] : optimizer.entries[(index - 1) * count..<index * count]
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
