/// The checked header of a safetensors file: u64 length, JSON. Every byte of the data belongs to one tensor.
///
/// Format and its rules (no holes, no overlaps, every size exact): huggingface/safetensors, as its reference
/// implementation demands them.
public struct SafetensorsHeader: Sendable {
  /// A longer header is refused, as in the reference implementation.
  public static let limit = 100_000_000

  /// The text pairs of `__metadata__`.
  public private(set) var metadata: [String: String] = [:]
  /// The tensors in the order of their data.
  public private(set) var entries: [TensorEntry] = []

  /// Checks the header of a whole file in memory; the data are not read.
  ///
  /// - Throws: a `SafetensorsFault` that names the tensor and the numbers.
  /// - Cost: linear in the header.
  public init(_ bytes: UnsafeRawBufferPointer) throws(SafetensorsFault) {
    if bytes.count < 8 { throw .tooShort(size: bytes.count) }
    let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
    if length > UInt64(Self.limit) || length > UInt64(bytes.count - 8) {
      throw .headerLength(length, size: bytes.count)
    }
    let dataStart = 8 + Int(length)
    let raw: [RawEntry]
    do throws(JSONProblem) {
      raw = try scan(UnsafeRawBufferPointer(rebasing: bytes[8..<dataStart]))
    } catch {
      throw .syntax(byte: 8 + error.byte, problem: error.text)
    }
    try check(raw, dataStart: dataStart, dataSize: bytes.count - dataStart)
  }

  /// A tensor as the header states it.
  private struct RawEntry {
    var name: String
    var type: String?
    var shape: [Int]?
    var offsets: [Int]?
  }

  private mutating func scan(_ bytes: UnsafeRawBufferPointer) throws(JSONProblem) -> [RawEntry] {
    var scanner = JSONReader(bytes)
    if bytes.first != UInt8(ascii: "{") { throw scanner.problem("'{' expected") }
    var raw: [RawEntry] = []
    var pairs: [String: String] = [:]
    try scanner.object { scanner, name throws(JSONProblem) in
      if name == "__metadata__" {
        try scanner.object { scanner, key throws(JSONProblem) in
          let value = try scanner.string()
          if pairs.updateValue(value, forKey: key) != nil {
            throw scanner.problem("metadata \(key) is there twice")
          }
        }
        return
      }
      var entry = RawEntry(name: name)
      try scanner.object { scanner, key throws(JSONProblem) in
        switch key {
        case "dtype" where entry.type == nil: entry.type = try scanner.string()
        case "shape" where entry.shape == nil: entry.shape = try scanner.wholeNumbers()
        case "data_offsets" where entry.offsets == nil: entry.offsets = try scanner.wholeNumbers()
        default: throw scanner.problem("unknown or repeated field \(key) of tensor \(name)")
        }
      }
      if entry.type == nil || entry.shape == nil || entry.offsets?.count != 2 {
        throw scanner.problem("tensor \(name) needs dtype, shape and two data_offsets")
      }
      raw.append(entry)
    }
    try scanner.end()
    metadata = pairs
    return raw
  }

  private mutating func check(_ raw: [RawEntry], dataStart: Int, dataSize: Int) throws(SafetensorsFault) {
    var names: Set<String> = []
    for tensor in raw {
      guard let typeName = tensor.type, let shape = tensor.shape, let offsets = tensor.offsets else {
        continue
      }
      let (name, begin, end) = (tensor.name, offsets[0], offsets[1])
      if !names.insert(name).inserted { throw .duplicateTensor(tensor: name) }
      guard let type = TensorType(rawValue: typeName) else {
        throw .unknownType(tensor: name, type: typeName)
      }
      if begin > end || end > dataSize {
        throw .offsetsOutside(tensor: name, begin: begin, end: end, dataSize: dataSize)
      }
      let expected = type.byteCount(shape: shape)
      if expected != end - begin {
        throw .sizeMismatch(
          tensor: name, shape: shape, type: type, expected: expected, actual: end - begin)
      }
      entries.append(
        TensorEntry(name: name, type: type, shape: shape, range: dataStart + begin..<dataStart + end))
    }
    // Empty tensors lie where their neighbour begins, so the end breaks ties; names make the order unique.
    entries.sort {
      ($0.range.lowerBound, $0.range.upperBound, $0.name) < (
        $1.range.lowerBound, $1.range.upperBound, $1.name
      )
    }
    var previousEnd = 0
    for entry in entries {
      let begin = entry.range.lowerBound - dataStart
      if begin < previousEnd {
        throw .overlap(tensor: entry.name, begin: begin, previousEnd: previousEnd)
      }
      if begin > previousEnd { throw .hole(tensor: entry.name, begin: previousEnd, end: begin) }
      previousEnd = entry.range.upperBound - dataStart
    }
    if previousEnd < dataSize { throw .hole(tensor: nil, begin: previousEnd, end: dataSize) }
  }
}
