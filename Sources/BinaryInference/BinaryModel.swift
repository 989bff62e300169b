import CBitKernels
import FileFormats

/// A packed binary transformer, ready to answer: the file that `bipft export` writes, and its forward pass on bits.
///
///     let model = try BinaryModel(path: "mine.bipft")
///     let ids = [model.vocabulary.classification] + words + [model.vocabulary.separator]
///     let vector = try model.embed(ids)
///
/// Its numbers are those of the trained model (docs/inference.md says how near), the same with every instruction set. A
/// value is a few pointers to bytes that never change, so copies share them, and any thread may call. Each call works on
/// the calling thread, unless it is given more, in memory of its own (`workSpaceBytes`); nothing is padded.
public struct BinaryModel: Sendable {
  public let shape: ModelShape
  public let head: ModelHead
  public let vocabulary: ModelVocabulary
  /// Tokens of a sequence in training, [CLS] and [SEP] included. What is longer, up to `shape.maximumLength`, the model reads
  /// but was not trained on.
  public let trainedLength: Int
  let network: Network
  /// nil without that head.
  let classifier: ClassifierHead?
  let memory: ModelMemory

  /// A model from the bytes of its file, which are copied.
  ///
  /// - Parameter instructionSet: the kernels to use (`instructionSets`); nil takes the fastest.
  /// - Throws: `BinaryModelError` for whatever is wrong with the file; its weights are not looked at.
  /// - Cost: a copy, and linear in the header, the vocabulary and the small tensors.
  public init(bytes: [UInt8], instructionSet: String? = nil) throws(BinaryModelError) {
    try self.init(ModelMemory(copying: bytes), instructionSet: instructionSet)
  }

  init(_ memory: ModelMemory, instructionSet: String?) throws(BinaryModelError) {
    guard let kernels = bk_choose(instructionSet) else {
      throw .unknownInstructionSet(instructionSet ?? "", available: Self.instructionSets)
    }
    let tensors = try PackedTensors(memory, kernels)
    let metadata = tensors.header.metadata
    shape = try ModelShape(metadata, version: tensors.version)
    let head = metadata[PackedModelFormat.headKey]
    guard let head = head.flatMap(ModelHead.init) else {
      throw .metadata(
        key: PackedModelFormat.headKey, value: head,
        wanted: ModelHead.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: " or "))
    }
    self.head = head
    vocabulary = try ModelVocabulary(
      tensors.text(PackedModelFormat.vocabulary), count: shape.vocabularySize)
    network = try Network(shape, head, tensors, kernels)
    classifier = head == .classifier ? try ClassifierHead(shape, tensors) : nil
    trainedLength = try shape.trainedLength(metadata[PackedModelFormat.sequenceLengthKey])
    self.memory = memory
  }

  /// The instruction sets that this processor has kernels for, fastest first.
  public static var instructionSets: [String] {
    withUnsafeTemporaryAllocation(of: UnsafePointer<bk_kernels>?.self, capacity: Int(BK_INSTRUCTION_SETS)) {
      tables in
      tables.initialize(repeating: nil)
      let count = bk_available(tables.baseAddress)
      return (0..<count).map { String(cString: tables[$0]!.pointee.name) }
    }
  }

  /// The name of the kernels in use.
  public var instructionSet: String { String(cString: network.kernels.pointee.name) }

  /// Bytes that a call takes while it works on a sequence of `tokens` tokens, beside what it returns. `wordLogits` and
  /// `fillMask` take `wordHeadBytes` more.
  public func workSpaceBytes(tokens: Int) -> Int { WorkSpace.byteCount(shape, tokens: tokens) }

  /// What the encoder makes of one sequence.
  public struct Encoding: Equatable, Sendable {
    /// One for the embeddings and one for each layer: tokens × hidden size, row by row.
    public let hiddenStates: [[Float]]
    /// The pooled first token.
    public let pooled: [Float]
  }

  /// All hidden states of one sequence, and the pooled output.
  ///
  /// - Parameters:
  ///   - tokens: ids, [CLS] and [SEP] included.
  ///   - segments: 0 or 1 for each token; none for all 0.
  /// - Throws: `tokenCount`, `tokenOutOfRange`, `segments`.
  public func encode(_ tokens: Span<Int32>, segments: Span<Int32> = Span()) throws(BinaryModelError)
    -> Encoding
  {
    try check(tokens, segments)
    let space = WorkSpace(shape, tokens: tokens.count)
    var states: [[Float]] = []
    var pooled = [Float](repeating: 0, count: shape.hiddenSize)
    withExtendedLifetime(memory) {
      network.run(tokens, segments: segments, space) { _ in
        states.append(
          Array(UnsafeBufferPointer(start: space.state, count: tokens.count * shape.hiddenSize)))
      }
      pooled.withUnsafeMutableBufferPointer { network.pool(space, into: $0.baseAddress!) }
    }
    return Encoding(hiddenStates: states, pooled: pooled)
  }

  /// The mean of the last hidden states of all tokens, of length 1: what sentences are compared by.
  ///
  /// - Parameters: as `encode`.
  /// - Throws: as `encode`.
  public func embed(_ tokens: Span<Int32>, segments: Span<Int32> = Span()) throws(BinaryModelError) -> [Float]
  {
    try check(tokens, segments)
    return meanState(tokens, segments, WorkSpace(shape, tokens: tokens.count))
  }

  /// `embed` of each of several sequences, of any lengths.
  ///
  /// - Parameter threads: how many work at most, the calling one included. They share the sequences, the longest first; each
  ///   takes `workSpaceBytes` of the longest. The vectors do not depend on it.
  public func embed(_ sequences: [[Int32]], threads: Int = 1) throws(BinaryModelError) -> [[Float]] {
    for tokens in sequences { try check(tokens.span, Span()) }
    let order = sequences.indices.sorted { (sequences[$1].count, $0) < (sequences[$0].count, $1) }
    guard let longest = order.first else { return [] }
    return [[Float]](unsafeUninitializedCapacity: sequences.count) { room, count in
      let vectors = Vectors(base: room.baseAddress!)
      sharePieces(sequences.count, threads: threads) { next in
        let space = WorkSpace(shape, tokens: sequences[longest].count)
        while let piece = next() {
          let tokens = sequences[order[piece]]
          (vectors.base + order[piece]).initialize(to: meanState(tokens.span, Span(), space))
        }
      }
      count = sequences.count
    }
  }

  /// Places of results, each written by one thread.
  private struct Vectors: @unchecked Sendable {
    let base: UnsafeMutablePointer<[Float]>
  }

  private func meanState(
    _ tokens: Span<Int32>, _ segments: Span<Int32>, _ space: borrowing WorkSpace
  ) -> [Float] {
    let width = shape.hiddenSize
    var vector = [Float](repeating: 0, count: width)
    withExtendedLifetime(memory) {
      network.run(tokens, segments: segments, space)
      vector.withUnsafeMutableBufferPointer { vector in
        let (table, sums) = (network.kernels.pointee, vector.baseAddress!)
        network.sum(tokens.count, space, into: sums)
        // The mean and the sum have one direction.
        let length = table.sum_squares(sums, width).squareRoot()
        if length > 0 { table.scale(Float(1 / length), width, sums) }
      }
    }
    return vector
  }

  func check(_ tokens: Span<Int32>, _ segments: Span<Int32>) throws(BinaryModelError) {
    guard !tokens.isEmpty, tokens.count <= shape.maximumLength else {
      throw .tokenCount(tokens.count, limit: shape.maximumLength)
    }
    for position in tokens.indices where tokens[position] < 0 || tokens[position] >= shape.vocabularySize {
      throw .tokenOutOfRange(
        token: tokens[position], position: position, vocabularySize: shape.vocabularySize)
    }
    if segments.isEmpty { return }
    guard segments.count == tokens.count,
      segments.indices.allSatisfy({ segments[$0] == 0 || segments[$0] == 1 })
    else { throw .segments(segments.indices.map { segments[$0] }, tokens: tokens.count) }
  }
}
