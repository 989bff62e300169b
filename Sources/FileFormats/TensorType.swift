/// The element types of safetensors; the raw value is the name in a file.
public enum TensorType: String, CaseIterable, Sendable {
  case float64 = "F64"
  case float32 = "F32"
  case float16 = "F16"
  case bfloat16 = "BF16"
  case int64 = "I64"
  case int32 = "I32"
  case int16 = "I16"
  case int8 = "I8"
  case uint64 = "U64"
  case uint32 = "U32"
  case uint16 = "U16"
  case uint8 = "U8"
  case bool = "BOOL"

  /// Bytes an element.
  public var size: Int {
    switch self {
    case .float64, .int64, .uint64: 8
    case .float32, .int32, .uint32: 4
    case .float16, .bfloat16, .int16, .uint16: 2
    case .int8, .uint8, .bool: 1
    }
  }
}

/// One tensor of a file: what it is and where its bytes lie. Elements are row-major and little endian.
public struct TensorEntry: Sendable, Equatable {
  public let name: String
  public let type: TensorType
  /// Empty for a scalar.
  public let shape: [Int]
  /// Its bytes, counted from the start of the file.
  public let range: Range<Int>

  public init(name: String, type: TensorType, shape: [Int], range: Range<Int>) {
    self.name = name
    self.type = type
    self.shape = shape
    self.range = range
  }

  /// The number of elements.
  public var count: Int { range.count / type.size }
}

extension TensorType {
  /// The bytes of a tensor of this type and shape, or nil if the number does not fit 63 bits.
  public func byteCount(shape: [Int]) -> Int? {
    var product = size
    // A zero anywhere makes the tensor empty, however large the other extents are.
    if shape.contains(0) { return 0 }
    for extent in shape {
      let (next, overflow) = product.multipliedReportingOverflow(by: extent)
      if overflow || next < 0 { return nil }
      product = next
    }
    return product
  }
}
