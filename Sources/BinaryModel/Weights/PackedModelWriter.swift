import BinaryInference
import FileFormats
import Kernels
import Parameters
import TensorFiles

/// Writes a trained model as a packed file (docs/inference.md): binary tensors as the bits that training multiplies with,
/// the rest as `PackedModelFormat.Reals` says.
///
/// Legend: V vocabulary, H hidden, O outputs, I inputs.
public struct PackedModelWriter: ~Copyable {
  private let path: String
  private let configuration: ModelConfiguration
  private let head: PackedModelFormat.Head
  private let reals: PackedModelFormat.Reals
  private let layout: ParameterLayout
  private let encoder: EncoderPlaces
  private let words: Range<Int>
  private let parameters: FloatBuffer
  private var packed: PackedWeights
  private var binary: [Tensor] = []
  private var real: [Tensor] = []
  private var metadata: [String: String] = [:]
  private var sizes = Sizes()

  /// Bytes of a packed file by what they are.
  public struct Sizes: Equatable, Sendable {
    public fileprivate(set) var bits = 0
    /// Of the encoder: scales, thresholds, biases, positions and the like.
    public fileprivate(set) var reals = 0
    /// Of a head for words almost all the word embedding.
    public fileprivate(set) var head = 0
    public fileprivate(set) var vocabulary = 0
    public fileprivate(set) var file = 0
    /// The same parameters in float32.
    public fileprivate(set) var float32 = 0

    public var header: Int { file - bits - reals - head - vocabulary }
  }

  /// Writes the file `path`, whole or not at all.
  ///
  /// - Parameters:
  ///   - outputs: of a classifier: the number of classes, or 1 where it tells a number.
  ///   - vocabulary: V tokens, each with a line feed.
  ///   - notes: what the metadata say beside sizes and head, by their keys.
  /// - Returns: what takes how many bytes.
  /// - Throws: `ModelError` for weights that do not fit `configuration`, lack a tensor, or have no float16.
  /// - Cost: memory for all parameters in float32, and for the file.
  public static func write(
    _ weights: PretrainedWeights, _ configuration: ModelConfiguration, head: PackedModelFormat.Head,
    outputs: Int = 1, reals: PackedModelFormat.Reals, vocabulary: [UInt8],
    notes: [String: String] = [:], to path: String
  ) throws(ModelError) -> Sizes {
    try checkLayers(weights, configuration.layers)
    var writer = try PackedModelWriter(weights, configuration, head: head, outputs: outputs, reals: reals)
    writer.metadata = notes
    return try writer.write(vocabulary: vocabulary, to: path)
  }

  /// The same of a model that nothing has trained, for measurements: random weights, zero biases.
  public static func writeUntrained(
    _ configuration: ModelConfiguration, head: PackedModelFormat.Head, reals: PackedModelFormat.Reals,
    seed: UInt64, vocabulary: [UInt8], to path: String
  ) throws(ModelError) -> Sizes {
    var writer = try PackedModelWriter(path, configuration, head: head, outputs: 1, reals: reals) {
      (parameters, layout) throws(ModelError) in
      Initialisation.fill(parameters, layout: layout, seed: seed)
    }
    if head == .classifier {
      writer.metadata = [PackedModelFormat.labelsKey: "[]", PackedModelFormat.textsKey: "1"]
    }
    return try writer.write(vocabulary: vocabulary, to: path)
  }

  /// The heads that weights have, the likeliest to be wanted first; without any, `none`.
  public static func heads(of weights: PretrainedWeights) -> [PackedModelFormat.Head] {
    let tensors: [(PackedModelFormat.Head, String)] = [
      (.classifier, PooledHead.name + ".weight"), (.words, "cls.predictions.bias"),
    ]
    return tensors.filter { weights.find($0.1) != nil }.map(\.0) + [.none]
  }

  /// Reads the weights.
  private init(
    _ weights: PretrainedWeights, _ c: ModelConfiguration, head: PackedModelFormat.Head, outputs: Int,
    reals: PackedModelFormat.Reals
  ) throws(ModelError) {
    let isPaired = weights.find(PackedModelFormat.nextSentence + ".weight") != nil
    try self.init(weights.path, c, head: head, outputs: outputs, isPaired: isPaired, reals: reals) {
      (parameters, layout) throws(ModelError) in
      let missing = layout.parameters.map(\.name).filter { weights.find($0) == nil }
      if !missing.isEmpty { throw .missing(path: weights.path, tensors: missing) }
      for parameter in layout.parameters {
        guard let values = try weights.read(parameter.name, shape: parameter.shape) else { continue }
        let view = parameters[parameter.range]
        values.withUnsafeBufferPointer { view.base.update(from: $0.baseAddress!, count: view.count) }
      }
    }
  }

  /// Binarises the weights that `fill` writes.
  ///
  /// - Parameters:
  ///   - path: names them in errors.
  ///   - isPaired: whether the head for words has next-sentence prediction beside it.
  private init(
    _ path: String, _ c: ModelConfiguration, head: PackedModelFormat.Head, outputs: Int,
    isPaired: Bool = true,
    reals: PackedModelFormat.Reals,
    fill: (FloatView, ParameterLayout) throws(ModelError) -> Void
  ) throws(ModelError) {
    var builder = LayoutBuilder()
    let encoder = EncoderPlaces(c, in: &builder)
    let words = encoder.embeddings.words
    switch head {
    case .none: break
    case .words:
      _ = PredictionPlaces("cls.predictions.", c, words: words, in: &builder)
      if isPaired {
        _ = LinearPlaces(PackedModelFormat.nextSentence, outputs: 2, inputs: c.hiddenSize, in: &builder)
      }
    case .classifier:
      _ = LinearPlaces(
        PackedModelFormat.classifier, outputs: outputs, inputs: c.hiddenSize, in: &builder)
    }
    let layout = ParameterLayout(builder)
    let parameters = FloatBuffer(count: layout.elementCount)
    try fill(parameters.view, layout)
    self.path = path
    configuration = c
    self.head = head
    self.reals = reals
    self.layout = layout
    self.encoder = encoder
    self.words = words
    packed = PackedWeights(layout)
    packed.binarise(parameters.view)
    self.parameters = parameters
  }

  private mutating func write(vocabulary: [UInt8], to file: String) throws(ModelError) -> Sizes {
    sizes.float32 = layout.parameterCount * MemoryLayout<Float>.size
    let replaced = configuration.hasLevels ? [] : try addThresholds()
    var matrix = 0
    for parameter in layout.parameters where !replaced.contains(parameter.name) {
      switch parameter.kind {
      case .binaryTable: try addTable(parameter)
      case .binaryMatrix:
        addMatrix(parameter, packed.matrices[matrix])
        matrix += 1
      case .stepSize:
        add(
          Tensor(
            name: parameter.name, shape: [],
            floats: [max(parameters.view[parameter.offset], StepSize.smallest)]))
      case .real:
        try addReals(
          parameter.name, parameter.shape, parameters.view[parameter.range],
          isTable: parameter.range == encoder.embeddings.positions && head != .words)
      }
    }
    addMetadata()
    sizes.vocabulary = vocabulary.count
    let text = Tensor(
      name: PackedModelFormat.vocabulary, type: .uint8, shape: [vocabulary.count], bytes: vocabulary)
    // Each begins at a multiple of what it is read by: words of bits, floats, halves, bytes.
    let tensors = binary + real.filter { $0.type.size == 4 } + real.filter { $0.type.size == 2 } + [text]
    do throws(TensorFileError) {
      try writeSafetensors(path: file, tensors: tensors, metadata: metadata)
    } catch { throw .file(error) }
    sizes.file =
      SafetensorsLayout(
        tensors: tensors.map { ($0.name, $0.type, $0.shape) }, metadata: metadata
      ).fileSize
    return sizes
  }

  private mutating func addMetadata() {
    metadata[PackedModelFormat.formatKey] = PackedModelFormat.name
    let c = configuration
    metadata[PackedModelFormat.versionKey] =
      "\(c.hasLevels ? PackedModelFormat.levelsVersion : PackedModelFormat.version)"
    if c.hasLevels {
      metadata[PackedModelFormat.activationBitsKey] = "\(c.activationBits)"
      metadata[PackedModelFormat.activationKey] = c.feedForwardActivation.rawValue
    }
    metadata[PackedModelFormat.headKey] = head.rawValue
    for size in PackedModelFormat.Size.allCases {
      let value =
        switch size {
        case .vocabulary: c.vocabularySize
        case .hidden: c.hiddenSize
        case .layers: c.layers
        case .heads: c.heads
        case .intermediate: c.intermediateSize
        case .maximumLength: c.maximumLength
        case .estimatorRank: c.estimatorRank
        }
      metadata[size.rawValue] = "\(value)"
    }
  }

  // MARK: Tensors

  private mutating func add(_ tensor: Tensor) {
    real.append(tensor)
    if isOfHead(tensor.name) { sizes.head += tensor.bytes.count } else { sizes.reals += tensor.bytes.count }
  }

  /// The latent word embedding serves the head alone.
  private func isOfHead(_ name: String) -> Bool {
    let embedding = layout.parameters.first { $0.range == words }!.name
    return name.hasPrefix("cls.") || name.hasPrefix(PackedModelFormat.classifier + ".")
      || name == embedding || name == PackedModelFormat.units(embedding)
  }

  /// - Parameter isTable: whether it is read row by row.
  private mutating func addReals(
    _ name: String, _ shape: [Int], _ values: FloatView, isTable: Bool = false
  ) throws(ModelError) {
    switch reals {
    case .int16 where isTable: addWholeNumbers(name, shape, values)
    case .float32, .int16: add(Tensor(name: name, type: .float32, shape: shape, bytes: Array(values.bytes)))
    case .float16:
      let halves = values.array.map { Float16($0) }
      if let place = halves.firstIndex(where: { !$0.isFinite }) {
        throw .beyondFloat16(path: path, tensor: name, value: values[place])
      }
      add(Tensor(name: name, type: .float16, shape: shape, bytes: halves.withUnsafeBytes { Array($0) }))
    }
  }

  /// The thresholds of the layers whose outputs are bits.
  ///
  /// - Returns: names of the parameters that they stand for.
  private mutating func addThresholds() throws(ModelError) -> Set<String> {
    var replaced: Set<String> = []
    for layer in encoder.layers {
      let attention = layer.attention
      for places in [attention.query, attention.key, attention.value] {
        try addThresholds(places, reader: nil)
        let name = places.linear.name
        replaced.formUnion([name + ".bias", name + ".input_clip_val"])
      }
      let (inner, output) = (layer.intermediate, layer.output)
      try addThresholds(inner, reader: output)
      let (name, reader) = (inner.linear.name, output.linear.name)
      replaced.formUnion([name + ".bias", name + ".input_clip_val", reader + ".move.bias"])
    }
    return replaced
  }

  /// The thresholds of one layer, of gelu's output as `reader` shifts it or of the signs.
  private mutating func addThresholds(
    _ places: EncoderLinearPlaces, reader: EncoderLinearPlaces?
  ) throws(ModelError) {
    guard let matrix = places.matrix, let input = places.input else {
      preconditionFailure("\(places.linear.name) is not binary")
    }
    let layer = places.linear
    guard layer.inputs <= CountThresholds.inputLimit else {
      throw .tooManyInputs(
        path: path, layer: layer.name, inputs: layer.inputs, limit: CountThresholds.inputLimit)
    }
    let step = input.step.value(parameters.view)
    add(
      CountThresholds(
        scale: step * packed.matrices[matrix].scale, bias: parameters.view[layer.bias].base,
        shift: (reader?.input?.shift).map { parameters.view[$0].base }, outputs: layer.outputs,
        inputs: layer.inputs),
      layer.name)
  }

  private mutating func add(_ thresholds: CountThresholds, _ layer: String) {
    let outputs = thresholds.low.count
    let values = thresholds.low + (thresholds.high ?? [])
    add(
      Tensor(
        name: PackedModelFormat.thresholds(layer), type: .int16,
        shape: thresholds.high == nil ? [outputs] : [2, outputs],
        bytes: values.map(\.littleEndian).withUnsafeBytes { Array($0) }))
    if thresholds.exceptions.isEmpty { return }
    let exceptions = thresholds.exceptions.flatMap { [$0.output.littleEndian, $0.count.littleEndian] }
    add(
      Tensor(
        name: PackedModelFormat.thresholdExceptions(layer), type: .int32,
        shape: [thresholds.exceptions.count, 2], bytes: exceptions.withUnsafeBytes { Array($0) }))
  }

  /// A table as the nearest whole multiples of each row's unit, its largest element by 32,767.
  private mutating func addWholeNumbers(_ name: String, _ shape: [Int], _ values: FloatView) {
    let (rows, columns) = (shape[0], shape[1])
    var (numbers, units) = ([Int16](), [Float]())
    numbers.reserveCapacity(values.count)
    for row in 0..<rows {
      let own = values[row * columns..<(row + 1) * columns]
      let unit = (0..<columns).reduce(0) { max($0, abs(own[$1])) } / Float(Int16.max)
      units.append(unit)
      for column in 0..<columns {
        let multiple = unit == 0 ? 0 : (own[column] / unit).rounded(.toNearestOrEven)
        numbers.append(Int16(max(-Float(Int16.max), min(Float(Int16.max), multiple))).littleEndian)
      }
    }
    add(Tensor(name: name, type: .int16, shape: shape, bytes: numbers.withUnsafeBytes { Array($0) }))
    add(Tensor(name: PackedModelFormat.units(name), shape: [rows], floats: units))
  }

  private mutating func addBits(_ name: String, _ rows: Int, _ columns: Int, shape: [Int], _ bytes: [UInt8]) {
    binary.append(Tensor(name: PackedModelFormat.bits(name), type: .uint8, shape: shape, bytes: bytes))
    metadata[PackedModelFormat.shapeKey(name)] = "\(rows),\(columns)"
    sizes.bits += bytes.count
  }

  private mutating func addMatrix(_ parameter: Parameter, _ matrix: PackedMatrix) {
    let (rows, columns) = (parameter.shape[0], parameter.shape[1])
    let shape = PackedModelFormat.matrixShape(rows: rows, columns: columns)
    let bytes = UnsafeRawBufferPointer(start: matrix.interleaved.base, count: shape.reduce(1, *))
    addBits(parameter.name, rows, columns, shape: shape, Array(bytes))
    add(Tensor(name: PackedModelFormat.scale(parameter.name), shape: [], floats: [matrix.scale]))
  }

  /// The word embedding, binarised as `Embeddings.forward` does; for a head also as it is.
  private mutating func addTable(_ parameter: Parameter) throws(ModelError) {
    let (rows, columns) = (parameter.shape[0], parameter.shape[1])
    let values = parameters.view[parameter.range]
    var arena = Arena()
    let (signs, shift, scales) = (
      arena.bits(rows: rows, columns: columns), arena.floats(columns), arena.floats(rows)
    )
    shift.fill(-packed.tableMean)
    pack(MatrixView(values, rows: rows, columns: columns), shift: shift, step: 0, signs: signs, within: nil)
    for row in 0..<rows {
      let own = values[row * columns..<(row + 1) * columns]
      scales[row] = Float(own.sumOfAbsolutes() / Double(columns))
    }
    let bytes = Array(UnsafeRawBufferPointer(start: signs.base, count: rows * signs.words * 8))
    addBits(
      parameter.name, rows, columns,
      shape: PackedModelFormat.tableShape(rows: rows, columns: columns), bytes)
    try addReals(PackedModelFormat.scale(parameter.name), [rows], scales)
    if head == .words { try addReals(parameter.name, parameter.shape, values, isTable: true) }
    withExtendedLifetime(arena) {}
  }
}
