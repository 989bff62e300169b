import CBitKernels
import FileFormats

/// The tensors of a packed model file, each checked against the shape that is asked for. What it hands out are pointers
/// into the file's bytes, or into memory that lives as long as they.
struct PackedTensors {
  let header: SafetensorsHeader
  private let entries: [String: TensorEntry]
  /// Of the format.
  let version: Int
  private let memory: ModelMemory
  private let kernels: UnsafePointer<bk_kernels>

  init(_ memory: ModelMemory, _ kernels: UnsafePointer<bk_kernels>) throws(BinaryModelError) {
    do throws(SafetensorsFault) { header = try SafetensorsHeader(memory.bytes) } catch {
      throw .header(error)
    }
    entries = Dictionary(uniqueKeysWithValues: header.entries.map { ($0.name, $0) })
    self.memory = memory
    self.kernels = kernels
    guard header.metadata[PackedModelFormat.formatKey] == PackedModelFormat.name else {
      throw .notAPackedModel
    }
    let version = header.metadata[PackedModelFormat.versionKey]
    guard let known = PackedModelFormat.readableVersions.first(where: { version == "\($0)" }) else {
      throw .otherVersion(
        found: version ?? "(none)", known: PackedModelFormat.readableVersions.upperBound)
    }
    self.version = known
  }

  /// Whether there is a tensor `name`.
  func contain(_ name: String) -> Bool { entries[name] != nil }

  /// The bytes of the tensor `name`, of one of `types` and of `shape`, which begin at a multiple of `alignment`, or of the
  /// size of their elements.
  private func find(
    _ name: String, _ types: [TensorType], _ shape: [Int], alignment: Int? = nil
  ) throws(BinaryModelError) -> (bytes: UnsafeRawBufferPointer, type: TensorType) {
    guard let entry = entries[name] else { throw .missingTensor(name) }
    guard types.contains(entry.type), entry.shape == shape else {
      throw .tensor(
        name, found: "\(entry.type.rawValue) of \(entry.shape)",
        wanted: "\(types.map(\.rawValue).joined(separator: " or ")) of \(shape)")
    }
    let alignment = alignment ?? entry.type.size
    guard entry.range.lowerBound % alignment == 0 else {
      throw .misaligned(name, byte: entry.range.lowerBound, wanted: alignment)
    }
    return (UnsafeRawBufferPointer(rebasing: memory.bytes[entry.range]), entry.type)
  }

  private func words(
    _ name: String, rows: Int, columns: Int, shape: [Int]
  ) throws(BinaryModelError) -> UnsafePointer<UInt64> {
    let key = PackedModelFormat.shapeKey(name)
    guard header.metadata[key] == "\(rows),\(columns)" else {
      throw .metadata(key: key, value: header.metadata[key], wanted: "\"\(rows),\(columns)\"")
    }
    let bytes = try find(PackedModelFormat.bits(name), [.uint8], shape, alignment: 8).bytes
    return bytes.baseAddress!.assumingMemoryBound(to: UInt64.self)
  }

  /// A binary matrix of O outputs and I inputs, m·sign, as the products read it.
  func matrix(_ name: String, outputs: Int, inputs: Int) throws(BinaryModelError) -> BinaryMatrix {
    BinaryMatrix(
      outputs: outputs, inputs: inputs,
      words: try words(
        name, rows: outputs, columns: inputs,
        shape: PackedModelFormat.matrixShape(rows: outputs, columns: inputs)),
      scale: try scalar(PackedModelFormat.scale(name)))
  }

  /// A binary table with a scale for each row.
  func binaryTable(_ name: String, rows: Int, columns: Int) throws(BinaryModelError) -> BinaryTable {
    BinaryTable(
      words: try words(
        name, rows: rows, columns: columns, shape: PackedModelFormat.tableShape(rows: rows, columns: columns)),
      scales: try reals(PackedModelFormat.scale(name), [rows]), columns: columns)
  }

  /// One float32 number.
  func scalar(_ name: String) throws(BinaryModelError) -> Float {
    let bytes = try find(name, [.float32], []).bytes
    return Float(bitPattern: UInt32(littleEndian: bytes.loadUnaligned(as: UInt32.self)))
  }

  /// A small tensor as float32: float32 in place, float16 widened.
  func reals(_ name: String, _ shape: [Int]) throws(BinaryModelError) -> UnsafePointer<Float> {
    let (bytes, type) = try find(name, [.float32, .float16], shape)
    let count = bytes.count / type.size
    if type == .float32 { return bytes.baseAddress!.assumingMemoryBound(to: Float.self) }
    let floats = memory.floats(count)
    kernels.pointee.widen_halves(bytes.baseAddress!.assumingMemoryBound(to: UInt16.self), count, floats)
    return UnsafePointer(floats)
  }

  /// Several small tensors one behind the other, as float32.
  func joined(_ names: [String], _ shapes: [[Int]]) throws(BinaryModelError) -> UnsafePointer<Float> {
    let counts = shapes.map { $0.reduce(1, *) }
    let all = memory.floats(counts.reduce(0, +))
    var next = all
    for (index, name) in names.enumerated() {
      next.update(from: try reals(name, shapes[index]), count: counts[index])
      next += counts[index]
    }
    return UnsafePointer(all)
  }

  /// A large table that stays as it is in the file.
  func table(_ name: String, rows: Int, columns: Int) throws(BinaryModelError) -> RealTable {
    let (bytes, type) = try find(name, [.float32, .float16, .int16], [rows, columns])
    return RealTable(
      base: bytes.baseAddress!, type: type, columns: columns,
      units: type == .int16 ? try reals(PackedModelFormat.units(name), [rows]) : nil)
  }

  /// The thresholds of a layer with O outputs and I inputs, two each if another layer, `reader`, shifts its gelu.
  func thresholds(
    _ layer: String, outputs: Int, inputs: Int, reader: String?
  ) throws(BinaryModelError) -> BitThresholds {
    if version == 1 {
      return try evaluatedThresholds(layer, outputs: outputs, inputs: inputs, reader: reader)
    }
    let shape = reader == nil ? [outputs] : [2, outputs]
    let bytes = try find(PackedModelFormat.thresholds(layer), [.int16], shape).bytes
    let low = bytes.baseAddress!.assumingMemoryBound(to: Int16.self)
    var exceptions: [CountThresholds.Exception] = []
    let name = PackedModelFormat.thresholdExceptions(layer)
    if let count = entries[name]?.shape.first {
      let values = try find(name, [.int32], [count, 2]).bytes.bindMemory(to: Int32.self)
      for index in 0..<count {
        let output = values[2 * index]
        guard output >= 0, output < outputs else {
          throw .tensor(name, found: "output \(output)", wanted: "0 to \(outputs - 1)")
        }
        exceptions.append(CountThresholds.Exception(output: output, count: values[2 * index + 1]))
      }
    }
    return BitThresholds(low: low, high: reader == nil ? nil : low + outputs, exceptions: exceptions)
  }

  /// The same from the biases and shifts of a file of version 1.
  private func evaluatedThresholds(
    _ layer: String, outputs: Int, inputs: Int, reader: String?
  ) throws(BinaryModelError) -> BitThresholds {
    guard inputs <= CountThresholds.inputLimit else {
      throw .tensor(
        layer + ".weight", found: "\(inputs) inputs", wanted: "at most \(CountThresholds.inputLimit)")
    }
    let scale = try scalar(layer + ".input_clip_val") * scalar(PackedModelFormat.scale(layer + ".weight"))
    var shift: UnsafePointer<Float>?
    if let reader { shift = try reals(reader + ".move.bias", [outputs]) }
    let found = CountThresholds(
      scale: scale, bias: try reals(layer + ".bias", [outputs]), shift: shift, outputs: outputs,
      inputs: inputs)
    return BitThresholds(
      low: memory.keep(found.low), high: found.high.map { memory.keep($0) }, exceptions: found.exceptions)
  }

  /// The bytes of the tensor `name`, of whatever length.
  func text(_ name: String) throws(BinaryModelError) -> UnsafeRawBufferPointer {
    guard let entry = entries[name] else { throw .missingTensor(name) }
    return try find(name, [.uint8], [entry.range.count]).bytes
  }
}

/// O×I signs in groups of 8 rows (bit_kernels.h), and what a product with them is multiplied by.
struct BinaryMatrix {
  let outputs: Int
  let inputs: Int
  let words: UnsafePointer<UInt64>
  let scale: Float

  /// Words of a row.
  var inputWords: Int { (inputs + 63) / 64 }

  /// popcount(a ⊕ b) of packed row `row` of a and output `output`.
  func count(_ a: UnsafePointer<UInt64>, row: Int, output: Int) -> Int {
    let b = words + output / 8 * 8 * inputWords + output % 8
    return (0..<inputWords).reduce(0) { $0 + (a[row * inputWords + $1] ^ b[$1 * 8]).nonzeroBitCount }
  }
}

/// `CountThresholds` as they lie in memory.
struct BitThresholds {
  let low: UnsafePointer<Int16>
  let high: UnsafePointer<Int16>?
  let exceptions: [CountThresholds.Exception]
}

/// Rows of signs, each with a scale of its own.
struct BinaryTable {
  let words: UnsafePointer<UInt64>
  let scales: UnsafePointer<Float>
  let columns: Int

  /// Writes row `index` as ±scale.
  func write(_ index: Int, _ kernels: UnsafePointer<bk_kernels>, to out: UnsafeMutablePointer<Float>) {
    let scale = scales[index]
    kernels.pointee.unpack(words + index * ((columns + 63) / 64), 1, columns, scale, -scale, out, columns)
  }
}

/// A table in the file: float32, float16, or whole numbers with a unit for each row.
struct RealTable {
  let base: UnsafeRawPointer
  let type: TensorType
  let columns: Int
  let units: UnsafePointer<Float>?

  /// The rows from `first` on: in place, or `count` of them widened into `room`.
  func floats(
    _ first: Int, count: Int, _ kernels: UnsafePointer<bk_kernels>, room: UnsafeMutablePointer<Float>
  ) -> UnsafePointer<Float> {
    let start = first * columns
    if let units {
      kernels.pointee.widen_integers(
        base.assumingMemoryBound(to: Int16.self) + start, count, columns, units + first, room)
    } else if type == .float16 {
      kernels.pointee.widen_halves(
        base.assumingMemoryBound(to: UInt16.self) + start, count * columns, room)
    } else {
      return base.assumingMemoryBound(to: Float.self) + start
    }
    return UnsafePointer(room)
  }
}
